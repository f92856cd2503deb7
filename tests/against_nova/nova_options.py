"""The peer of tests/against_nova/test_options.py: the options of nova."""

import nova.conf
from nova.conf import opts
from oslo_config import cfg


def _section(group):
    return getattr(group, "name", group) or "DEFAULT"


def old_names():
    """[section, option, [[section, option] of each older name]] of every option."""
    return [
        [
            _section(group),
            option.dest,
            [[old.group or _section(group), old.name or option.dest] for old in option.deprecated_opts],
        ]
        for group, options in opts.list_opts()
        for option in options
    ]


def value(path, section, name):
    """What nova reads in a file."""
    conf = cfg.ConfigOpts()
    nova.conf.pci.register_opts(conf)
    conf(["--config-file", path], default_config_dirs=[])
    return conf[section][name]


ASKS = (old_names, value)
