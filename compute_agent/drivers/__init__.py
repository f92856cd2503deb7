"""The drivers: ours are listed here, those of others come by entry point.

A driver module, or whatever an entry point of ``nova_sched.drivers`` names,
has ``OPTS``, options that are registered in ``[compute_agent]``, and
``drivers(conf, host)``, which returns the drivers of the agent's hosts by name.
"""

import stevedore
import stevedore.exception

from compute_agent.drivers import local, simulated
from rpc_api import errors

NAMESPACE = "nova_sched.drivers"
BUILT_IN = {"local": local, "simulated": simulated}


def load(name: str):
    """The driver module of a name; UsageError when there is none, or it cannot be imported."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    try:
        return stevedore.DriverManager(NAMESPACE, name, warn_on_missing_entrypoint=False).driver
    except stevedore.exception.NoMatches:
        others = stevedore.ExtensionManager(NAMESPACE, on_load_failure_callback=lambda *_: None).names()
        raise errors.UsageError(
            f"there is no driver {name!r}, wanted one of "
            f"{', '.join(sorted({*BUILT_IN, *others}))}; "
            "fix [compute_agent] driver in the configuration"
        ) from None
    except Exception as fault:
        # Whatever the module of somebody else raises when it is imported.
        raise errors.UsageError(
            f"the driver {name!r} cannot be imported ({fault!r}); fix its package, or [compute_agent] driver"
        ) from None
