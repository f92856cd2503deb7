"""Options of the keystoneauth1 plugins that configuration files name."""


def named_in(section: str, values) -> list:
    """Return (section, options) for the plugins that files name in a section; ``values(section, option)`` gives the
    values in the files.

    Only the service that logs in to Keystone registers these options, and other services may share its file.
    """
    named = values(section, "auth_type") + values(section, "auth_plugin")
    sections = [section, *(value.lower() for value in values(section, "auth_section"))]
    named += [plugin for other in sections[1:] for plugin in values(other, "auth_type")]
    if not named:
        return []
    from keystoneauth1 import exceptions, loading

    options = list(loading.get_auth_common_conf_options())
    for plugin in named:
        try:
            options += loading.get_auth_plugin_conf_options(plugin)
        except exceptions.NoMatchingPlugin:
            # The service that uses the plugin refuses it.
            continue
    return [(section, options) for section in sections]
