"""The console script ``nova-sched-scheduler``."""

import sys

from nova_sched.process import process


def main(argv=None) -> int:
    """Run a scheduler, and return its exit code (see rpc_api.errors)."""
    return process.main("nova-sched-scheduler", argv, _load)


def _load():
    from nova_sched.scheduler import app

    return app


if __name__ == "__main__":
    sys.exit(main())
