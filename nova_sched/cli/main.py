"""``nova-sched`` and ``nova-sched-replay``: the entry points of the command lines."""

import logging
import os
import sys

from rpc_api import concurrency, errors

INTERRUPTED = 130


def main(argv=None) -> int:
    """Run a command of ``nova-sched`` and return its exit code. Only ``--debug`` shows a traceback."""
    return _run("NovaSched", argv)


def replay(argv=None) -> int:
    """Run a command of ``nova-sched-replay`` and return its exit code."""
    return _run("NovaSchedReplay", argv)


def _interrupted():
    sys.stderr.write("interrupted\n")
    return INTERRUPTED


def _run(name, argv):
    try:
        concurrency.setup()
        from nova_sched.cli import app
    except KeyboardInterrupt:  # the imports take a part of a second
        return _interrupted()
    try:
        code = getattr(app, name)().run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except SystemExit as end:
        return errors.EXIT_OK if end.code is None else end.code if isinstance(end.code, int) else errors.EXIT_USAGE
    except KeyboardInterrupt:
        return _interrupted()
    except OSError as fault:
        if not app.is_of_output(fault):
            raise
        # The interpreter must not complain at its end about output that cannot be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(fault, BrokenPipeError):  # the reader of our output (such as head) has ended
            return errors.EXIT_OK
        program = getattr(app, name).NAME
        sys.stderr.write(
            f"{program}: the output cannot be written ({fault.strerror}); free space, or write elsewhere\n"
        )
        return errors.EXIT_NEGATIVE
    finally:
        logging.shutdown()
