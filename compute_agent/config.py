"""Options of the compute agent."""

from oslo_config import cfg

from compute_agent import drivers
from rpc_api import config, errors
from rpc_api.contracts import agent as agent_rpc
from rpc_api.own_name import own_name

OPTS = [
    cfg.StrOpt(
        "driver",
        default="local",
        help="Driver of the agent's hosts: local (this machine), simulated, or one that an entry point of "
        "nova_sched.drivers names.",
    ),
    cfg.StrOpt("cell", help="Name of the agent's cell. May be left out where only one is enabled."),
    own_name("Name of this agent on the RPC bus, and of the host of the local driver.", "host"),
]
PCI_GROUP = cfg.OptGroup("pci", "PCI devices")
COMPUTE_GROUP = cfg.OptGroup("compute", "CPUs of the machine")


def list_opts():
    """All options of the agent and of its own drivers, for oslo-config-generator."""
    return [
        (agent_rpc.GROUP, [*OPTS, *(option for driver in drivers.BUILT_IN.values() for option in driver.OPTS)]),
        (COMPUTE_GROUP, drivers.local.COMPUTE_OPTS),
        (PCI_GROUP, drivers.local.PCI_OPTS),
    ]


def register(conf) -> None:
    """Register the agent's options, and those that all services share."""
    config.register(conf, list_opts())


def cell_of(conf) -> config.Cell:
    """The agent's cell; UsageError when it is not clear or not complete."""
    name = conf.compute_agent.cell
    if not name:
        if len(conf.cells.enabled) != 1:
            raise errors.UsageError(
                "[compute_agent] cell is not set, wanted one of [cells] enabled "
                f"({', '.join(conf.cells.enabled) or 'none'}); add it"
            )
        name = conf.cells.enabled[0]
    return config.cell_of(conf, name, uuid_wanted=False)


def drivers_of(conf) -> dict:
    """The drivers of the agent's hosts by name; UsageError when they cannot be made."""
    driver = drivers.load(conf.compute_agent.driver)
    config.register_in(conf, agent_rpc.GROUP, driver.OPTS)
    return driver.drivers(conf, conf.compute_agent.host)
