"""A what-if in a process of its own: ``python -m nova_sched.page.what_if_process``.

It reads one line of JSON: ``logs`` (names as of --log), ``config_files`` of the schedulers, ``records`` (the most that
the logs may have), and ``sides``: the changes of each. It writes lines of JSON: ``progress`` (0 to 1) with ``label``,
and at the end ``facts`` (see nova_sched.replay.what_if.comparison) or ``error``.
"""

import json
import os
import sys

from rpc_api import concurrency, errors

NICE = 10


def main() -> int:
    """Run the what-if that stdin asks for."""
    concurrency.setup()
    # After the concurrency mode is chosen.
    from nova_sched.page.what_if_run import catalogue_in, compare
    from nova_sched.process.tuning import prepare_memory
    from nova_sched.replay.logs.source import Source

    os.nice(NICE)
    prepare_memory()

    def say(**what):
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    asked = json.loads(sys.stdin.readline())
    try:
        known = catalogue_in(asked["config_files"])
        with Source(asked["logs"]) as source:
            found = compare(
                source, asked["sides"], known, asked["records"], lambda share, label: say(progress=share, label=label)
            )
    except errors.NovaSchedError as fault:
        say(error=str(fault))
        return fault.exit_code
    except MemoryError:
        say(error="the what-if needs more memory than there is; use nova-sched-replay what-if on another machine")
        return errors.EXIT_NEGATIVE
    say(progress=1.0, label="", **found)
    return errors.EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
