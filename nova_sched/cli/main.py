"""``nova-sched`` and ``nova-sched-replay``: the command lines of operators and of those who try it out."""

import logging
import os
import sys

from rpc_api import concurrency, errors

INTERRUPTED = 130


def main(argv=None) -> int:
    """``nova-sched``: run a command; returns its exit code. A user never sees a traceback (``--debug`` shows one)."""
    return _run("NovaSched", argv)


def replay(argv=None) -> int:
    """``nova-sched-replay``, in the same way."""
    return _run("NovaSchedReplay", argv)


def _run(name, argv):
    concurrency.setup()
    from nova_sched.cli import app

    try:
        return getattr(app, name)().run(sys.argv[1:] if argv is None else argv)
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
