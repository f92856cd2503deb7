"""Our Placement API beside the real Placement: random sequences of writes, and all that clients can read after them, as
requests to both applications in one process, from a seed.

Run by the peer's own Python, in which both are installed, from the root of the project::

    python -m tests.against_nova.api_together --seed 1 --count 20000

Each world has a seed of its own and starts empty, so a run can be continued at any seed; the next one is printed after
each world. The first difference ends the run. With ``--http`` ours is asked over a socket.
"""

import argparse
import contextlib
import functools
import gc
import http.client
import json
import logging
import random
import sys

from tests.against_nova import ledger_answers, random_worlds
from tests.against_nova.ledger_together import Difference, different
from tests.against_nova.ledger_writes import CUSTOM_CLASSES, CUSTOM_TRAITS, PROJECTS, USERS, Writer
from tests.placement_api.in_process import OurPlacement

#: Writes of one world; states and answers are compared after so many of them; answers then.
WRITES, EACH, READS = 200, 10, 12
VERSIONS = ("1.39", "1.39", "1.38", "1.37", "1.28", "1.27", "1.19", "1.15", "1.14", "1.12", "1.11", "1.6", "1.4", "1.0")


class Together:
    """One world on both sides."""

    def __init__(self, placement, ours, counts):
        self.placement, self.ours, self.counts = placement, ours, counts
        for side in (placement, ours):
            side.empty()

    @property
    def projection(self):
        (projection,) = self.ours.region.projections()
        return projection

    def state(self):
        """Our state, as plain values."""
        return ledger_answers.state_of(self.projection)

    def write(self, write):
        """Write on both sides; their answers must be equal. Only our log has reports of hosts: they are left out."""
        kind = ledger_answers.kind_of(write.event)
        if kind not in ledger_answers.REFUSALS:
            return
        method, path, body = ledger_answers.request_of(write)
        theirs = self.placement.call(method, path, body, write.version)
        mine = self.ours.call(method, path, body, write.version)
        self.counts["writes"] += 1
        self.counts[f"{kind} {mine[0]}"] += 1
        if _comparable(*theirs) != _comparable(*mine) and not self._is_known(kind, theirs, mine):
            raise Difference(f"{method} {path} {body} at {write.version}: Placement answers {theirs}, and we {mine}")
        if kind in ("AllocationsPut", "Reshaped"):
            self._drop_records_of_nobody(write.event, mine[0])

    def _is_known(self, kind, theirs, mine):
        """The rows of docs/differences: a reshape that reserves more than there is."""
        return kind == "Reshaped" and theirs[0] == 204 and mine[0] == 400 and self._is_undone()

    def _is_undone(self):
        raise _Known

    def _drop_records_of_nobody(self, event, status):
        """Defects E and F of Placement, as in ledger_together: the record of a consumer that holds nothing stays."""
        records = self.placement.drop_records_of_nobody()
        expected = {one.consumer_uuid for one in event.consumers if status >= 300 or not one.allocations}
        if not records <= expected - self.projection.holders.keys():
            raise Difference(f"Placement keeps records of {records}, after the answer {status}")
        self.counts["records of nobody"] += bool(records)

    def compare(self):
        """The whole states of both sides must be equal. Returns ours."""
        ours, theirs = self.state(), self.placement.state()
        self.counts["states"] += 1
        if ours != theirs:
            raise Difference("\n".join(different(ours, theirs, "state")))
        return ours

    def read(self, draw, state):
        """Read something on both sides; their answers must be equal."""
        path, version = _path(draw, state), draw.choice(VERSIONS)
        theirs = self.placement.call("GET", path, version=version)
        mine = self.ours.call("GET", path, version=version)
        self.counts["reads"] += 1
        self.counts[f"read {mine[0]}"] += 1
        if _comparable(*theirs) != _comparable(*mine):
            raise Difference(f"GET {path} at {version}: Placement answers {theirs}, and we {mine}")


class _Known(Exception):
    """A difference of docs/differences, after which the two sides do not have one state any more."""


def _path(draw, state):
    """The path of something that clients read, mostly of something that there is."""
    providers, consumers = sorted(state["providers"]) or ["x"], sorted(state["consumers"]) or ["x"]
    provider = f"/resource_providers/{draw.choice(providers)}"
    project, user = draw.choice(PROJECTS), draw.choice(USERS)
    name, trait = draw.choice(("VCPU", "DISK_GB", *CUSTOM_CLASSES)), draw.choice(("HW_CPU_X86_AVX", *CUSTOM_TRAITS))
    return draw.choice(
        (
            "/resource_providers",
            provider,
            *(f"{provider}/{noun}" for noun in ("inventories", "usages", "aggregates", "traits", "allocations")),
            f"{provider}/inventories/{name}",
            f"/allocations/{draw.choice(consumers)}",
            f"/allocations/{draw.choice(consumers)}",
            f"/usages?project_id={project}",
            f"/usages?project_id={project}&user_id={user}",
            f"/usages?project_id={project}&consumer_type={draw.choice(('all', 'unknown', 'INSTANCE', 'MIGRATION'))}",
            "/resource_classes",
            f"/resource_classes/{name}",
            f"/traits/{trait}",
            f"/traits?associated={draw.choice(('true', 'false'))}",
            "/traits?name=startswith:CUSTOM_",
            f"/traits?name=in:{trait},HW_CPU_X86_SSE",
        )
    )


def _comparable(status, body):
    """An answer without what may differ: the text and the id of an error, and the order of lists."""
    if status >= 400:
        return status, [(error["title"], error.get("code")) for error in body["errors"]]
    return status, _in_order(body)


def _in_order(value):
    if isinstance(value, dict):
        return {key: _in_order(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return sorted((_in_order(inner) for inner in value), key=lambda inner: json.dumps(inner, sort_keys=True))
    return value


class OverHTTP(OurPlacement):
    """Our application behind the web server of the service."""

    def empty(self):
        """Begin with a new log, and a server over it."""
        from placement_api.service import RunningServer

        self._stop()
        super().empty()
        self._server = RunningServer(self._app, self.conf.placement_api, "127.0.0.1", 0)
        self._connection = http.client.HTTPConnection(self._server.urls[0].removeprefix("http://"), timeout=60)

    def call(self, method, path, body=None, version="1.39"):
        """The status of an answer, and its body, read if it has one."""
        headers = {"X-Auth-Token": "admin", "OpenStack-API-Version": f"placement {version}"}
        headers |= {"Content-Type": "application/json", "X-Roles": "admin,service", "Accept": "application/json"}
        self._connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        found = answer.read()
        return answer.status, json.loads(found) if found else None

    def close(self):
        """End the server, and the threads that read the log."""
        self._stop()
        super().close()

    def _stop(self):
        if getattr(self, "_server", None) is not None:
            self._connection.close()
            self._server.stop(5.0)
            self._server = None


def world(placement, ours, seed, counts, writes=WRITES):
    """Write and compare one world."""
    together, writer, draw = Together(placement, ours, counts), Writer(seed), random.Random(f"reads {seed}")
    for number in range(1, writes + 1):
        write = writer.write(together.state())
        try:
            together.write(write)
            if number % EACH == 0:
                state = together.compare()
                for _ in range(READS):
                    together.read(draw, state)
        except Difference as error:
            raise Difference(f"seed {seed}, write {number}: {write}\n{error}") from error
        except _Known:
            counts["known differences"] += 1
            return


def main(*arguments):
    from tests.against_nova.placement_app import Placement

    parser = argparse.ArgumentParser(description="Compare the Placement API with the real Placement.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="writes")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--http", action="store_true", help="ask ours over a socket")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    placement, ours = Placement(), (OverHTTP if options.http else OurPlacement)()
    gc.freeze()
    with contextlib.closing(ours):
        try:
            one = functools.partial(world, placement, ours)
            found = random_worlds.run(one, options.seed, ("writes",), options.count, options.seconds)
            print(json.dumps(found))
        except Difference as error:
            print(error)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
