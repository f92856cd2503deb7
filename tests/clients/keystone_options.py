"""Options of keystoneauth that clients have in a section of their configuration. Imports nothing of this project."""

import contextlib

from keystoneauth1 import loading
from oslo_config import cfg


def set_password(conf, section, facts):
    """Set what a section needs for a password; ``facts`` are those of the cloud."""
    for options in (
        loading.get_auth_common_conf_options(),
        loading.get_auth_plugin_conf_options("password"),
        loading.get_session_conf_options(),
    ):
        for option in options:
            with contextlib.suppress(cfg.DuplicateOptError):
                conf.register_opt(option, section)
    for name, value in (
        ("auth_type", "password"),
        ("auth_url", facts["auth_url"]),
        ("username", "placement"),
        ("password", facts["password"]),
        ("project_name", "service"),
        ("user_domain_id", "default"),
        ("project_domain_id", "default"),
        ("region_name", facts["region"]),
    ):
        conf.set_override(name, value, section)
