"""How a command logs in to a cloud: the variables of an openrc file, or an entry of clouds.yaml."""

import os
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from keystoneauth1 import exceptions, loading, session

from nova_sched.clients.service import TIMEOUT, Login, one_line
from rpc_api import errors

#: Entry points of the plugins of keystoneauth1.
PLUGINS, PASSWORD = "keystoneauth1.plugin", "password"
HOW = "set the variables OS_… as in an openrc file, or OS_CLOUD and clouds.yaml"
WITHOUT_SDK = (
    "openstacksdk is not installed, which reads clouds.yaml; install nova_sched[cloud], use the variables OS_… of an "
    "openrc file, or the command in python-openstackclient"
)


def login(cloud: str | None = None, environment: Mapping[str, str] | None = None) -> Login:
    """The Login of an entry of clouds.yaml (``cloud``, else OS_CLOUD), or else of the other variables ``OS_…``.
    UsageError for what is missing or wrong."""
    found = dict(os.environ) if environment is None else dict(environment)
    named = cloud or found.get("OS_CLOUD")
    return _of_clouds_yaml(named) if named else _of_variables(found)


def _of_clouds_yaml(name: str) -> Login:
    try:
        import openstack.config
        import openstack.exceptions
    except ImportError:
        raise errors.UsageError(WITHOUT_SDK) from None
    try:
        region = openstack.config.OpenStackConfig().get_one(cloud=name)
        return Login(region.get_session(), region.region_name or None, region.get_interface() or None)
    except (openstack.exceptions.SDKException, exceptions.ClientException, OSError) as fault:
        raise errors.UsageError(f"the cloud {name} of clouds.yaml cannot be used: {one_line(fault)}; {HOW}") from None


def _of_variables(found: Mapping[str, str]) -> Login:
    kind = found.get("OS_AUTH_TYPE") or PASSWORD
    if not metadata.entry_points(group=PLUGINS, name=kind):
        raise errors.UsageError(
            f"OS_AUTH_TYPE is {kind!r}, wanted a plugin of keystoneauth1 such as {PASSWORD}; fix it"
        )
    try:
        plugin = loading.get_plugin_loader(kind)
        account = plugin.load_from_options_getter(lambda option: _value(option, found))
    except (exceptions.ClientException, ValueError, TypeError) as fault:
        raise errors.UsageError(f"the account of the cloud is not complete: {one_line(fault)}; {HOW}") from None
    is_insecure = found.get("OS_INSECURE", "").lower() in ("1", "true", "yes")
    verify: bool | str = False if is_insecure else found.get("OS_CACERT") or True
    return Login(
        session.Session(auth=account, verify=verify, timeout=TIMEOUT, app_name="nova_sched"),
        found.get("OS_REGION_NAME") or None,
        found.get("OS_INTERFACE") or None,
    )


def _value(option: Any, found: Mapping[str, str]) -> str | None:
    names = [option.dest, *(old.dest for old in option.deprecated)]
    return next((found[name] for name in (f"OS_{one.upper()}" for one in names) if found.get(name)), None)
