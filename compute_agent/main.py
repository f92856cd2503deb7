"""The console script ``nova-sched-agent``."""

import sys

from nova_sched.process import process


def main(argv=None) -> int:
    """Run a compute agent; returns the exit code (see rpc_api.errors)."""
    return process.main("nova-sched-agent", argv, _load)


def _load():
    from compute_agent import app

    return app


if __name__ == "__main__":
    sys.exit(main())
