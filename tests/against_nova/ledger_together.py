"""The ledger of our fold beside the real Placement: random writes and queries in one process, from a seed.

Run by the peer's own Python, in which both are installed, from the root of the project::

    python -m tests.against_nova.ledger_together --seed 1 --count 100000

Each world has a seed of its own and starts empty, so a run can be continued at any seed; the next one is printed after
each world. The first difference ends the run: its seed and the number of the write are printed. With ``--shrink`` a
smaller case that differs is looked for and printed.
"""

import argparse
import functools
import gc
import json
import random
import sys
import traceback
from collections import Counter

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.write_refusals import WriteRefused
from rpc_api import events
from rpc_api.codec import SetAside
from tests.against_nova import ledger_answers, ledger_cases, random_worlds, shrink
from tests.against_nova.ledger_writes import Writer
from tests.builders import Cell

#: Writes of one world; the state is compared and queries follow after so many writes; queries then; a snapshot is made
#: after so many comparisons.
WRITES, EACH, QUERIES, SNAPSHOT_EACH = 400, 10, 8, 5


class Difference(AssertionError):
    """Placement and our fold do not agree."""


class Together:
    """One world on both sides."""

    def __init__(self, placement, counts):
        self.placement, self.counts = placement, counts
        placement.empty()
        self.cell = Cell(events.LevelPinned(3))
        self.cell.projection.writes = []

    def state(self):
        """Our state, as plain values."""
        return ledger_answers.state_of(self.cell.projection)

    def write(self, write):
        """Write on both sides; their answers must be equal."""
        kind = ledger_answers.kind_of(write.event)
        self.cell.say(write.event)
        if kind not in ledger_answers.REFUSALS:
            self.counts[kind] += 1
            return
        assert len(self.cell.projection.writes) == 1, f"{list(self.cell.projection.quarantine)}"
        ours = self.cell.projection.writes.pop()
        if isinstance(ours.reason, SetAside):
            raise Difference(f"we set it aside: {ours.reason}")
        self.counts["writes"] += 1
        self.counts[f"{kind}: {'accepted' if ours.reason is None else ours.reason.code.name}"] += 1
        if ours.reason is not None and ours.reason.code in ledger_answers.OURS:
            return
        method, path, body = ledger_answers.request_of(write)
        status, answer = self.placement.call(method, path, body, write.version)
        wanted = ledger_answers.expected(write, ours.reason)
        theirs = ledger_answers.found(status, answer, write.version)
        if kind == "TraitCreated" and status == 204:
            theirs = 204, None
        if theirs != wanted:
            raise Difference(f"Placement answers {status} {answer}, and we {ours.reason}")
        if isinstance(answer, dict) and "resource_provider_generation" in answer:
            if answer["resource_provider_generation"] != ours.generation:
                raise Difference(f"Placement answers {answer}, we have the generation {ours.generation}")
        if kind in ("AllocationsPut", "Reshaped"):
            self.drop_records_of_nobody(write.event, ours.reason)

    def drop_records_of_nobody(self, event, reason):
        """Defects E and F of Placement: the record of a consumer that holds nothing stays, and the next write that
        expects the consumer to be new is refused. It is removed here, so that the two sides go on from one state."""
        records = self.placement.drop_records_of_nobody()
        if not records:
            return
        if reason is None:
            self.counts["defect E"] += 1
            expected = {one.consumer_uuid for one in event.consumers if not one.allocations}
        else:
            self.counts["defect F"] += 1
            expected = {one.consumer_uuid for one in event.consumers}
        holding = self.cell.projection.holders.keys()
        explained = reason is None or reason.code is WriteRefused.UNKNOWN_PROVIDER
        if not explained or not records <= expected - holding:
            raise Difference(f"Placement keeps records of {records}, after the answer {reason}")

    def compare(self):
        """The whole states of both sides must be equal. Returns ours."""
        ours, theirs = self.state(), self.placement.state()
        self.counts["states"] += 1
        if ours != theirs:
            raise Difference("\n".join(different(ours, theirs, "state")))
        return ours

    def ask(self, query):
        """Ask Placement; its answer must be the one that our state gives."""
        status, body = self.placement.call("GET", query.path)
        self.counts["queries"] += 1
        answer = query.of(body) if status == 200 else None
        if (status, answer) != (query.status, query.answer):
            raise Difference(f"{query.path}: Placement answers {status} {answer}, we {query.status} {query.answer}")

    def reload(self):
        """A snapshot of our state gives the same state again, and the world goes on from it."""
        before = self.cell.projection
        digest = state_digest(before)
        after = snapshot.load(snapshot.dump(before))
        if state_digest(after) != digest:
            raise Difference("a snapshot has another digest than the state of which it was made")
        after.writes = []
        self.cell.projection = after
        self.counts["snapshots"] += 1


def different(ours, theirs, place):
    """The parts of two states that differ, as lines."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys(), key=str):
            if ours.get(key) != theirs.get(key):
                yield from different(ours.get(key), theirs.get(key), f"{place} {key}")
    elif ours != theirs:
        yield f"{place}: we {ours}, Placement {theirs}"


def world(placement, seed, counts, writes=WRITES):
    """Write and compare one world; a Difference has the writes that led to it as its second argument."""
    together, writer, draw = Together(placement, counts), Writer(seed), random.Random(f"queries {seed}")
    done = []
    for number in range(1, writes + 1):
        write = writer.write(together.state())
        done.append(write)
        try:
            together.write(write)
            if number % EACH == 0:
                state = together.compare()
                for _ in range(QUERIES):
                    together.ask(ledger_answers.query(draw, state))
                if number % (EACH * SNAPSHOT_EACH) == 0:
                    together.reload()
        except AssertionError as error:
            # An invariant that does not hold has no text of its own.
            message = str(error) or traceback.format_exc(limit=-3)
            raise Difference(f"seed {seed}, write {number}: {write}\n{message}", done) from error


def replayed(placement, writes):
    """The first difference when some writes are made again, and compared after each of them; None if there is none."""
    together = Together(placement, Counter())
    try:
        for write in writes:
            together.write(write)
            together.compare()
    except AssertionError as error:
        return str(error) or traceback.format_exc(limit=-3)
    return None


def named_cases(placement):
    """The smallest cases in which the two sides differ on purpose: name -> for each write Placement's status and our
    outcome."""
    found = {}
    for name, writes in ledger_cases.CASES.items():
        together = Together(placement, Counter())
        found[name] = []
        for write in writes:
            together.cell.say(write.event)
            if not together.cell.projection.writes:
                continue  # A report of a host, which Placement does not get.
            ours = together.cell.projection.writes.pop().reason
            status, _ = placement.call(*ledger_answers.request_of(write), write.version)
            outcome = "set aside" if isinstance(ours, SetAside) else ours and ours.code.name
            found[name].append([status, outcome or "accepted"])
    return found


def main(*arguments):
    from tests.against_nova.placement_app import Placement

    parser = argparse.ArgumentParser(description="Compare the ledger with the real Placement.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, help="writes and queries")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--shrink", action="store_true", help="look for a smaller case; takes minutes")
    parser.add_argument("--cases", action="store_true", help="only make the cases that differ on purpose")
    options = parser.parse_args(arguments)
    placement = Placement()
    gc.freeze()
    if options.cases:
        print(json.dumps(named_cases(placement)))
        return 0
    try:
        one = functools.partial(world, placement)
        counts = random_worlds.run(one, options.seed, ("writes", "queries"), options.count, options.seconds)
    except Difference as error:
        message, done = error.args
        print(message)
        if options.shrink and replayed(placement, done):
            done = shrink.shrink(done, lambda writes: replayed(placement, writes))
            print(*done, replayed(placement, done), sep="\n")
        return 1
    print(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
