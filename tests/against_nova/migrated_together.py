"""A random world of the real Placement is taken over, changed here, given back, changed there, and taken over again.

Run by the peer's own Python, in which both are installed, from the root of the project::

    python -m tests.against_nova.migrated_together --seed 1 --writes 200 --count 10000

Each world has a seed of its own. After each step the two sides are compared by the command, and their whole states by
the test itself. The first difference ends the run.
"""

import argparse
import contextlib
import functools
import io
import json
import logging
import os
import random
import sys
import uuid

from tests.against_nova import ledger_answers, random_worlds
from tests.against_nova.ledger_together import Difference, different
from tests.against_nova.ledger_writes import Writer


class World:
    """The real Placement behind its server, and our API over the logs of one cell."""

    def __init__(self, server, ours, seed, counts):
        self.server, self.ours, self.counts = server, ours, counts
        self.draw = random.Random(seed)
        self._url = ours.region.logs["cell1"].cell_log.url

    @property
    def projection(self):
        (projection,) = self.ours.region.projections()
        return projection

    def write_there(self, writer, count):
        """Random writes to the real Placement."""
        self._write(writer, count, self.server.placement, self.server.placement.state, "there")
        self.server.placement.drop_records_of_nobody()

    def write_here(self, writer, count):
        """Random writes to our API."""
        self._write(writer, count, self.ours, lambda: ledger_answers.state_of(self.projection), "here")

    def _write(self, writer, count, side, state, where):
        for _ in range(count):
            write = writer.write(state())
            if ledger_answers.kind_of(write.event) not in ledger_answers.REFUSALS or _reserves_too_much(write.event):
                continue
            method, path, body = ledger_answers.request_of(write)
            status, _ = side.call(method, path, body, write.version)
            self.counts[f"{where} {'accepted' if status < 300 else 'refused'}"] += 1
            self.counts["writes"] += 1

    def run(self, command, *arguments, wanted=0):
        """Run a command of nova-sched; returns what it wrote."""
        from nova_sched.cli import migrate

        code, text = run(getattr(migrate, command), self._url, self.server.url, *arguments)
        if code != wanted:
            raise Difference(f"{command} ends with {code}, wanted {wanted}: {text[-3000:]}")
        self.counts[command.lower()] += 1
        return text

    def compare(self, generations):
        """The command and the test must find no difference."""
        self.run("Compare", *(["--generations"] if generations else []))
        self.ours.region.fence()
        ours, theirs = ledger_answers.state_of(self.projection), self.server.placement.state()
        if not generations:
            for state in (ours, theirs):
                for facts in (*state["providers"].values(), *state["consumers"].values()):
                    del facts["generation"]
        if ours != theirs:
            raise Difference("\n".join(different(ours, theirs, "state")))
        self.counts["states"] += 1


class _App:
    """What a command needs of its application."""

    NAME, options = "nova-sched", argparse.Namespace()

    def __init__(self):
        self.stdout = self.stderr = io.StringIO()


def run(command, log, placement, *arguments):
    """(Exit code, output) of a command without Nova, with the log of one cell."""
    from rpc_api import errors

    app = _App()
    words = ["--log", f"cell1={log}", "--no-cache", "--placement", placement, *arguments]
    if command.__name__ != "Export":
        words.append("--placement-only")
    made = command(app, app.options)
    try:
        return made.take_action(made.get_parser(command.__name__).parse_args(words)), app.stdout.getvalue()
    except errors.NovaSchedError as fault:
        return fault.exit_code, str(fault)


def _reserves_too_much(event):
    """Placement lets a reshape reserve more than there is (docs/differences); no log takes that."""
    parts = getattr(event, "inventories", ()) if type(event).schema.__name__ == "Reshaped" else ()
    return any(one.reserved > one.total for part in parts for one in part.inventories)


def world(server, ours, writes, there, seed, counts):
    """Take a world over, give it back to an empty Placement, and take it over again; then give it back to one that has
    an older state."""
    server.placement.empty()
    ours.empty()
    one = World(server, ours, f"migration {seed}", counts)
    writer = Writer(seed)
    one.write_there(writer, there)
    for step in ("first", "again"):
        one.run("Import", "--overwrite", "--name", f"{step}-{uuid.uuid4()}")
        one.compare(generations=True)
        writer = Writer(f"{seed} {step}")
        one.write_here(writer, writes)
        if step == "first":
            server.placement.empty()
        one.run("Export")
        one.compare(generations=False)
        one.write_there(Writer(f"{seed} {step} there"), there)
    one.run("Import", wanted=2)
    one.run("Import", "--overwrite")
    one.compare(generations=True)
    if one.run("Import").count("round"):
        raise Difference("an import writes again what it wrote before")


def main(*arguments):
    from tests.against_nova.placement_http import PlacementServer, environment
    from tests.placement_api.in_process import OurPlacement

    parser = argparse.ArgumentParser(description="Take the real Placement over, and give it back.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--writes", type=int, default=60, help="writes to our API in each step")
    parser.add_argument("--there", type=int, default=60, help="writes to the real Placement in each step")
    parser.add_argument("--count", type=int, help="writes in all")
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    server, ours = PlacementServer(), OurPlacement()
    os.environ.update(environment(server.url))
    with contextlib.closing(ours), contextlib.closing(server):
        try:
            one = functools.partial(world, server, ours, options.writes, options.there)
            found = random_worlds.run(one, options.seed, ("writes",), options.count, options.seconds)
            print(json.dumps(found))
        except Difference as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
