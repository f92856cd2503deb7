"""``nova-sched simulate``: the command."""

import argparse
import json
import logging
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

from cliff.command import Command

from nova_sched.playground import numbers
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
examples:
  nova-sched simulate --seed 1                    one cloud, a thousand random actions
  nova-sched simulate --seed 1 --seeds 100        the seeds 1 to 100, on all cores
  nova-sched simulate --seed 7 --steps 5000 -o json
  nova-sched simulate --events 10000000 --record out/simulated.ndjson
                                                  as many seeds as it takes; the same command again goes on

A simulation is a cloud of two cells in one thread, on a simulated clock: agents, schedulers, conductors, logs. Messages
and acknowledgements are lost, appends are doubled, processes crash and start again with wrong clocks, readers lag, logs
are truncated and recreated, agents report wrong states. After every record and every answer the laws are checked (see
docs/design/0010-simulation.md). The same seed gives the same run.

exit codes: 0 every invariant held, 1 an invariant did not hold (its seed, step and the shortest history are printed),
2 wrong usage
"""


class Simulate(Command):
    """Run whole simulated clouds with random faults, and check the laws at every step."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("--seed", type=int, default=1, metavar="N", help="the first seed (1)")
        parser.add_argument(
            "--seeds",
            type=numbers.positive,
            default=1,
            metavar="N",
            help="number of seeds, one after the other (default: 1)",
        )
        parser.add_argument(
            "--events",
            type=numbers.positive,
            metavar="N",
            help="run seeds until their logs have so many events in sum, those of --record included",
        )
        parser.add_argument(
            "--record",
            metavar="FILE",
            help="append a line of JSON for each seed that held to this file, and go on after the last one in it",
        )
        parser.add_argument(
            "--steps",
            type=numbers.positive,
            default=1000,
            metavar="M",
            help="number of actions per cloud: requests, deletions, faults (default: 1000)",
        )
        parser.add_argument(
            "--jobs",
            type=numbers.positive,
            default=os.cpu_count() or 1,
            metavar="N",
            help="number of processes that run seeds in parallel (default: one per core)",
        )
        parser.add_argument("--no-shrink", action="store_true", help="do not search for a shorter history that fails")
        parser.add_argument(
            "-o", "--output", choices=("text", "json"), default="text", help="form of the output (default: text)"
        )
        return parser

    def take_action(self, arguments):
        started, total, failed = time.monotonic(), Counter(), None
        known, events = _recorded(arguments)
        if known is not None:
            arguments.seed = max(arguments.seed, known + 1)
        for outcome in self._outcomes(arguments, events):
            total.update(outcome.counts)
            if arguments.record is not None and outcome.fault is None:
                with open(arguments.record, "a") as record:
                    record.write(json.dumps(outcome._asdict()) + "\n")
            total["steps"] += outcome.steps
            total["seeds"] += 1
            self._say(outcome, arguments)
            if outcome.fault is not None:
                failed = outcome
                break
        seconds = time.monotonic() - started
        if failed is None and arguments.output == "text":
            self.app.stdout.write(
                f"{number_of(total['seeds'], 'seed')} held: {number_of(total['steps'], 'step')}, "
                f"{number_of(total['events'], 'event')} in the logs, {number_of(total['claims accepted'], 'claim')}, "
                f"{number_of(total['selections'], 'selection')}, {number_of(total['digests compared'], 'digest')} "
                f"compared; {total['steps'] / seconds:,.0f} steps/s\n"
            )
            if events:
                self.app.stdout.write(
                    f"{number_of(events + total['events'], 'event')} with those of {arguments.record}\n"
                )
        if failed is not None and not arguments.no_shrink:
            self._shrink(failed, arguments)
        return 1 if failed is not None else 0

    def _outcomes(self, arguments, events):
        """The outcomes of the seeds, in their order; ``events`` are there already."""
        if arguments.events is None:
            yield from _runs(range(arguments.seed, arguments.seed + arguments.seeds), arguments)
            return
        first, size = arguments.seed, max(1, 4 * arguments.jobs)
        while events < arguments.events:
            for outcome in _runs(range(first, first + size), arguments):
                events += outcome.counts["events"]
                yield outcome
                if events >= arguments.events:
                    return
            first += size

    def _say(self, outcome, arguments):
        if arguments.output == "json":
            self.app.stdout.write(json.dumps(outcome._asdict()) + "\n")
        elif outcome.fault is not None:
            self.app.stdout.write(
                f"seed {outcome.seed} does not hold at step {outcome.steps}, {outcome.seconds:.3f} s: {outcome.fault}\n"
            )
        elif arguments.seeds == 1 and arguments.events is None:
            self.app.stdout.write(
                f"seed {outcome.seed}: {dict(sorted(outcome.counts.items()))}, digests {outcome.digest}\n"
            )

    def _shrink(self, failed, arguments):
        from nova_sched.playground.simulation.script import Faults, write
        from nova_sched.playground.simulation.shrink import shrink

        script, outcome = shrink(failed.seed, write(failed.seed, arguments.steps, Faults()), Faults())
        self.app.stdout.write(
            f"shortest history found that fails ({len(script)} of {arguments.steps}): {outcome.fault}\n"
        )
        for stimulus in script:
            self.app.stdout.write(f"  {stimulus}\n")


def _recorded(arguments):
    """(The last seed in the file of ``--record``, the sum of the events in it); None and 0 without it. UsageError if
    the file is of another kind, or cannot be written."""
    if arguments.record is None:
        return None, 0
    try:
        with open(arguments.record, "a+") as record:
            record.seek(0)
            outcomes = [json.loads(line) for line in record]
        events = sum(outcome["counts"]["events"] for outcome in outcomes)
        return max((outcome["seed"] for outcome in outcomes), default=None), events
    except (OSError, ValueError, TypeError, LookupError) as fault:
        raise errors.UsageError(
            f"{arguments.record} is not a record of this command ({fault!s:.200}); name another file"
        ) from None


def _runs(seeds, arguments):
    if len(seeds) == 1 or arguments.jobs == 1:
        for seed in seeds:
            yield _run(seed, arguments.steps)
        return
    with ProcessPoolExecutor(min(arguments.jobs, len(seeds)), initializer=_quiet) as pool:
        try:
            yield from pool.map(_run, seeds, [arguments.steps] * len(seeds))
        finally:
            pool.shutdown(cancel_futures=True)


def _quiet():
    """Drop the services' log lines: the faults are simulated."""
    logging.disable(logging.CRITICAL)


def _run(seed, steps):
    before = logging.root.manager.disable
    _quiet()
    try:
        from nova_sched.playground.simulation.cloud import run

        return run(seed, steps)
    finally:
        logging.disable(before)
