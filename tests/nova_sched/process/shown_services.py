"""A service for tests of what shows services: each of its answers can be set."""

from oslo_config import cfg

from nova_sched.process.monitoring.monitor import Monitor
from nova_sched.process.monitoring.pulse import Pulse
from rpc_api import config
from tests.builders import HandClock


class ShownService:
    """See Shown."""

    def __init__(self, *pulses, clock=None):
        self.clock = clock or HandClock()
        self.loops = [Pulse(name, self.clock) for name in pulses]
        self.reasons, self.numbers, self.logs = [], [], []
        self.fault = None
        self.looked = 0

    def pulses(self):
        return self.loops

    def followed(self):
        return self.logs

    def samples(self):
        return self.numbers

    def why_not_ready(self):
        return self.reasons

    def look(self):
        self.looked += 1


def configured(**monitoring):
    """A configuration with some options of [monitoring]."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in monitoring.items():
        conf.set_override(name, value, "monitoring")
    return conf


def monitor_of(service, **monitoring):
    """The Monitor of a ShownService."""
    return Monitor("nova-sched-test", configured(**monitoring), service, lambda: service.fault, service.clock)
