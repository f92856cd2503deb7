"""``nova-sched``: the command line of operators and of those who try it out."""

import logging
import os
import sys

from rpc_api import concurrency, errors

INTERRUPTED = 130
DESCRIPTION = """\
The event-sourced scheduler for OpenStack Nova: play a cloud, and tail, replay and explain its decisions.

exit codes: 0 ok, 1 negative finding, 2 usage, 3 broker or log unreachable, 4 gap or partial data, 5 unknown schema
"""


def main(argv=None) -> int:
    """Run a command; returns its exit code. A user never sees a traceback (``--debug`` shows one)."""
    concurrency.setup()
    from nova_sched.cli.app import NovaSched
    argv = sys.argv[1:] if argv is None else argv
    app = NovaSched()
    try:
        return app.run(argv)
    except SystemExit as end:
        return errors.EXIT_OK if end.code is None else end.code if isinstance(end.code, int) else errors.EXIT_USAGE
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough; the interpreter must not complain about it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return errors.EXIT_OK
    finally:
        logging.shutdown()
