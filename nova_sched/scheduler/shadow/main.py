"""The console script ``nova-sched-shadow``."""

import sys

from nova_sched.process import process


def main(argv=None) -> int:
    """Run a shadow, and return its exit code (see rpc_api.errors)."""
    return process.main("nova-sched-shadow", argv, _load)


def _load():
    from nova_sched.scheduler.shadow import app

    return app


if __name__ == "__main__":
    sys.exit(main())
