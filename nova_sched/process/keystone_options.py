"""Options of the keystoneauth1 plugins that configuration files name."""

import logging
from importlib import metadata

LOG = logging.getLogger(__name__)

#: The entry points of the plugins.
PLUGINS = "keystoneauth1.plugin"


def named_in(section: str, values) -> list:
    """Return (section, options) for the plugins that files name in a section; ``values(section, option)`` gives the
    values in the files.

    Only the service that logs in to Keystone registers these options, and other services may share its file.
    """
    sections, plugins = _logins(section, values)
    if not plugins:
        return []
    options, _ = _of_plugins(plugins)
    return [(section, options) for section in sections]


def possible_in(section: str, values) -> tuple[list, bool]:
    """Return (a list as that of :func:`named_in`, whether it has all options that the plugins may have).

    If files name no plugin, or one that is not installed here, the options of all installed plugins are among them:
    the plugin may be named in a file of another service, or be installed beside it.
    """
    sections, plugins = _logins(section, values)
    options, is_whole = _of_plugins(plugins)
    if not (plugins and is_whole):
        options += _of_plugins(entry.name for entry in metadata.entry_points(group=PLUGINS))[0]
    return [(section, options) for section in sections], is_whole


def check_login(plugin) -> None:
    """ValueError if the options of a loaded plugin cannot be used. One for all versions of Keystone looks at them when
    it first logs in, which is too late to end for it."""
    from keystoneauth1.identity.generic import BaseGenericPlugin

    if isinstance(plugin, BaseGenericPlugin):
        try:
            plugin.create_plugin(None, (3, 0), plugin.auth_url)
        except Exception as fault:
            # It raises Exception itself.
            raise ValueError(str(fault)) from None


def _of_plugins(plugins):
    """Return (the options of some plugins and those that all plugins have, whether all of these plugins can be loaded).

    It does not use stevedore, which would log a plugin that is not installed, or whose libraries are not."""
    from keystoneauth1 import loading

    options, is_whole = list(loading.get_auth_common_conf_options()), True
    for plugin in plugins:
        found = list(metadata.entry_points(group=PLUGINS, name=plugin))
        try:
            options += loading.get_auth_plugin_conf_options(found[-1].load()())
        except Exception as fault:
            # The service that uses the plugin refuses it.
            LOG.debug("the options of the auth plugin %s cannot be listed: %r", plugin, fault)
            is_whole = False
    return options, is_whole


def _logins(section, values):
    """Return (the sections that describe a login, the plugins that they name)."""
    sections = [section, *(value.lower() for value in values(section, "auth_section"))]
    plugins = values(section, "auth_type") + values(section, "auth_plugin")
    return sections, plugins + [plugin for other in sections[1:] for plugin in values(other, "auth_type")]
