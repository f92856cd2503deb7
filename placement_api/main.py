"""The console script ``nova-sched-placement``."""

import sys

from nova_sched.process import process


def main(argv=None) -> int:
    """Serve the API; returns the exit code (see rpc_api.errors)."""
    return process.main("nova-sched-placement", argv, _load)


def _load():
    from placement_api import service

    return service


if __name__ == "__main__":
    sys.exit(main())
