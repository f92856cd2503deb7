"""The configuration of our scheduler from that of the test, which is Nova's."""

from oslo_config import cfg

from nova_sched.scheduler import config

#: Sections that both have, besides DEFAULT.
SECTIONS = ("scheduler", "filter_scheduler", "metrics", "workarounds", "compute")


def configuration():
    """A configuration of our scheduler, without a file."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    return conf


def policy(nova_conf):
    """The policy for the present configuration of the test."""
    conf = configuration()
    for option in config.declared_opts("DEFAULT"):
        conf.set_override(option.name, nova_conf[option.dest])
    for section in SECTIONS:
        for name in set(conf[section]) & set(nova_conf[section]):
            conf.set_override(name, nova_conf[section][name], section)
    return config.policy_of(conf)
