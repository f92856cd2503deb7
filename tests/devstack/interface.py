"""What the plugin uses of devstack: each function, the file that it is in, and its parameters in their order.

Written down from devstack at :data:`COMMIT`. ``test_interface.py`` compares it with the stubs and the plugin, and with
a checkout of devstack where there is one.
"""

COMMIT = "493835a61a996731a7031861f80c7629acd5d6f2"

#: Function -> (file, names of its parameters as it declares them). One without names takes what it gets as a list.
FUNCTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "apache_site_config_for": ("lib/apache", ()),
    "cleanup_placement": ("lib/placement", ()),
    "conductor_conf": ("lib/nova", ("cell",)),
    "configure_keystone_authtoken_middleware": ("lib/keystone", ("conf_file", "admin_user", "section", "service_type")),
    "configure_keystoneauth": ("lib/keystone", ("conf_file", "admin_user", "section")),
    "configure_placement_nova_compute": ("lib/nova", ("conf",)),
    "create_placement_accounts": ("lib/placement", ()),
    "define_plugin": ("functions-common", ()),
    "die": ("functions-common", ("line",)),
    "disable_service": ("functions-common", ()),
    "echo_summary": ("stack.sh", ()),
    "enable_service": ("functions-common", ()),
    "get_meta_section_files": ("inc/meta-config", ("file", "matchgroup")),
    "get_python_exec_prefix": ("inc/python", ()),
    "get_transport_url": ("lib/rpc_backend", ("virtual_host",)),
    "iniset": ("inc/ini-config", ("file", "section", "option", "value")),
    "iniset_rpc_backend": ("lib/rpc_backend", ("package", "file", "section", "virtual_host")),
    "is_package_installed": ("functions-common", ()),
    "is_service_enabled": ("functions-common", ()),
    "merge_config_file": ("inc/meta-config", ("file", "matchgroup", "configfile")),
    "pip_install_gr": ("inc/python", ("name",)),
    "pip_uninstall": ("inc/python", ("name",)),
    "remove_uwsgi_config": ("lib/apache", ("conf", "wsgi")),
    "run_process": ("functions-common", ("service", "command", "group", "user", "env_vars")),
    "setup_logging": ("functions", ()),
    "setup_package": ("inc/python", ("project_dir", "flags", "extras")),
    "start_service": ("functions-common", ()),
    "stop_process": ("functions-common", ("service",)),
    "stop_service": ("functions-common", ()),
    "test_with_retry": ("functions-common", ("testcmd", "failmsg", "until", "sleep")),
    "trueorfalse": ("functions-common", ("default",)),
    "wait_for_service": ("functions", ("timeout", "url")),
    "write_uwsgi_config": ("lib/apache", ("conf", "wsgi", "url", "http", "name")),
}

#: Variable -> the file that sets it.
VARIABLES: dict[str, str] = {
    "CELLSV2_SETUP": "stackrc",
    "NOVA_NUM_CELLS": "lib/nova",
    "NOVA_CPU_CELL": "lib/nova",
    "NOVA_CONF": "lib/nova",
    "NOVA_CONF_DIR": "lib/nova",
    "NOVA_BIN_DIR": "lib/nova",
    "NOVA_FILTERS": "lib/nova",
    "NOVA_SERVICE_REPORT_INTERVAL": "lib/nova",
    "PLACEMENT_AUTH_STRATEGY": "lib/placement",
    "PLACEMENT_CONF": "lib/placement",
    "PLACEMENT_CONF_DIR": "lib/placement",
    "PLACEMENT_ENFORCE_NEW_DEFAULTS": "lib/placement",
    "PLACEMENT_SERVICE_HOST": "lib/placement",
    "PLACEMENT_SERVICE_PROTOCOL": "lib/placement",
    "SERVICE_TIMEOUT": "stackrc",
    "SYSTEMCTL": "stackrc",
    "SYSTEMD_DIR": "stackrc",
    "TOP_DIR": "stack.sh",
    "REGION_NAME": "stackrc",
}
