"""The console script ``nova-sched-conductor``."""

import sys

from nova_sched.process import process


def main(argv=None) -> int:
    """Run a conductor; returns the exit code (see rpc_api.errors)."""
    return process.main("nova-sched-conductor", argv, _load)


def _load():
    from conductor import app

    return app


if __name__ == "__main__":
    sys.exit(main())
