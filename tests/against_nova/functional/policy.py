"""The configuration of our scheduler from that of the test, which is Nova's."""

from oslo_config import cfg

from nova_sched.scheduler import config

GROUPS = ("scheduler", "filter_scheduler", "metrics", "workarounds", "compute")


def policy(nova_conf):
    """The policy for the present configuration of the test."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    for section, options in config.list_opts():
        group = "DEFAULT" if section is None else getattr(section, "name", section)
        theirs = nova_conf if group == "DEFAULT" else nova_conf[group] if group in nova_conf else ()
        for option in options:
            if option.dest in theirs:
                conf.set_override(option.name, theirs[option.dest], None if group == "DEFAULT" else group)
    return config.policy_of(conf)


def messaging():
    """A configuration for a bus."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    return conf
