"""Native threads or eventlet: chosen once, before anything that oslo.service or oslo.messaging bring is imported.

Every console script calls :func:`setup` first. ``threading`` is the default;
``eventlet`` is a legacy mode that goes away when oslo drops it.
"""

import os
import sys

from rpc_api import errors

MODES = ("threading", "eventlet")
VARIABLE = "NOVA_SCHED_CONCURRENCY"


def setup(mode: str | None = None) -> str:
    """Choose the mode: the argument, else the environment's ``NOVA_SCHED_CONCURRENCY``, else threading.

    Raises UsageError for another mode.
    """
    mode = mode or os.environ.get(VARIABLE) or "threading"
    if mode not in MODES:
        raise errors.UsageError(f"the concurrency mode is {mode!r}, wanted one of {', '.join(MODES)}; mend {VARIABLE}")
    if mode == "eventlet":
        import eventlet
        eventlet.monkey_patch()
    elif "eventlet" not in sys.modules:
        sys.meta_path.insert(0, _NoEventlet())
    from oslo_service import backend
    wanted = backend.BackendType.EVENTLET if mode == "eventlet" else backend.BackendType.THREADING
    try:
        backend.init_backend(wanted)
    except backend.exceptions.BackendAlreadySelected:
        # Said before in this process; another choice than the first one is an error of the program.
        if backend.get_backend_type() != wanted:
            raise
    return mode


class _NoEventlet:
    """Keeps eventlet out of a process of native threads: libraries that would use it find it is not there."""

    def find_spec(self, name, path=None, target=None):
        if name == "eventlet" or name.startswith("eventlet."):
            raise ImportError("eventlet is not used in the concurrency mode 'threading'")
        return None
