"""Options of the keystoneauth1 plugins that configuration files name."""


def named_in(section: str, values) -> list:
    """Return (section, options) for the plugins that files name in a section; ``values(section, option)`` gives the
    values in the files.

    Only the service that logs in to Keystone registers these options, and other services may share its file.
    """
    sections, plugins = _logins(section, values)
    if not plugins:
        return []
    from keystoneauth1 import exceptions, loading

    options = list(loading.get_auth_common_conf_options())
    for plugin in plugins:
        try:
            options += loading.get_auth_plugin_conf_options(plugin)
        except exceptions.NoMatchingPlugin:
            # The service that uses the plugin refuses it.
            continue
    return [(section, options) for section in sections]


def possible_in(section: str, values) -> tuple[list, bool]:
    """Return (the same, whether these are all options that the plugins may have).

    If files name no plugin, or one that is not installed here, the options of all installed plugins are among them:
    the plugin may be named in a file of another service, or be installed beside it.
    """
    from keystoneauth1 import loading

    installed = loading.get_available_plugin_loaders()
    sections, plugins = _logins(section, values)
    if plugins and set(plugins) <= set(installed):
        return named_in(section, values), True
    options = list(loading.get_auth_common_conf_options())
    for loader in installed.values():
        options += loading.get_auth_plugin_conf_options(loader)
    return [(section, options) for section in sections], not plugins


def _logins(section, values):
    """Return (the sections that describe a login, the plugins that they name)."""
    sections = [section, *(value.lower() for value in values(section, "auth_section"))]
    plugins = values(section, "auth_type") + values(section, "auth_plugin")
    return sections, plugins + [plugin for other in sections[1:] for plugin in values(other, "auth_type")]
