"""Options of the scheduler, and the policy that they make. Names and defaults are Nova's.

Filters, weighers and request filters declare their own options; here they become options of oslo.config.
"""

import math

from oslo_config import cfg

from nova_sched import weighers
from nova_sched.filters.options import Kind
from nova_sched.projection.topology import GREATEST
from nova_sched.scheduler import neutron, notifications, plugins
from nova_sched.scheduler.service import Cell, cell0_of
from nova_sched.scheduler.shadow import options as shadow
from nova_sched.selection.policy import DEFAULT_FILTERS, OPTIONS, Policy
from rpc_api import config, errors
from rpc_api.contracts import scheduler as scheduler_rpc

#: Whose Placement API the conductors of a cloud use.
PLACEMENT, NOVA_SCHED = "placement", "nova_sched"

SCHEDULER_OPTS = [
    cfg.StrOpt(
        "placement_endpoint",
        default=PLACEMENT,
        choices=(PLACEMENT, NOVA_SCHED),
        mutable=True,
        help="Whose Placement API Nova's conductors and compute services use: OpenStack Placement (placement), "
        "or the one that nova_sched serves (nova_sched). With the latter, the allocation_request of a "
        "selection also has the terms of its claim (server group, NUMA nodes, PCI devices), which "
        "OpenStack Placement refuses. nova_sched's own conductor gets them either way; set nova_sched for "
        "the time in which conductors of an older version of nova_sched run beside newer schedulers.",
    ),
    cfg.FloatOpt(
        "claim_timeout",
        default=30.0,
        min=0.1,
        help="Seconds in which a claim must have been read back from its log; after it the request fails.",
    ),
    cfg.IntOpt(
        "discover_hosts_in_cells_interval",
        default=-1,
        min=-1,
        help="Seconds between two looks for compute hosts of Nova that are new in the logs. If there are any, "
        "discover_hosts_command runs. With -1 or 0 it never runs.",
    ),
    cfg.StrOpt(
        "discover_hosts_command",
        default="nova-manage cell_v2 discover_hosts --by-service",
        help="Command that maps new compute hosts to their cells in Nova's API database. The user of the scheduler "
        "must be allowed to run it. It may run in several schedulers at the same time.",
    ),
]

FILTER_GROUP = cfg.OptGroup("filter_scheduler", "Filters and weighers")
FILTER_OPTS = [
    cfg.MultiStrOpt(
        "available_filters",
        default=[plugins.ALL_FILTERS],
        mutable=True,
        help="Filters that may be enabled, one per line: nova.scheduler.filters.all_filters for all that are "
        "built in, and paths of classes, or of modules with classes, as they are written for Nova.",
    ),
    cfg.ListOpt(
        "enabled_filters",
        default=list(DEFAULT_FILTERS),
        mutable=True,
        help="Filters that are asked of each host, in this order: names of available_filters, or of entry "
        "points of nova_sched.filters.",
    ),
    cfg.ListOpt(
        "weight_classes",
        default=[plugins.ALL_WEIGHERS],
        mutable=True,
        help="Weighers that are used: nova.scheduler.weights.all_weighers for all that are built in, names of "
        "these or of entry points of nova_sched.weighers, "
        "and paths of classes as they are written for Nova.",
    ),
    cfg.IntOpt(
        "host_subset_size",
        default=1,
        min=1,
        mutable=True,
        help="Of how many best hosts one is drawn. Hosts of one score are in an order that is drawn too.",
    ),
    cfg.BoolOpt(
        "pci_in_placement",
        default=False,
        mutable=True,
        help="Has no effect here, as in Nova's own scheduler: nova-api and the conductor read it, and say in "
        "a request which of its groups are PCI devices.",
    ),
]
METRICS_GROUP = cfg.OptGroup("metrics", "MetricsWeigher and MetricsFilter")
WORKAROUND_GROUP = cfg.OptGroup("workarounds", "Workarounds")
COMPUTE_GROUP = cfg.OptGroup("compute", "What schedulers and compute hosts must do alike")
_KINDS = {
    Kind.FLAG: cfg.BoolOpt,
    Kind.WHOLE: cfg.IntOpt,
    Kind.NUMBER: cfg.FloatOpt,
    Kind.TEXT: cfg.StrOpt,
    Kind.TEXTS: cfg.ListOpt,
    Kind.WEIGHTS: cfg.ListOpt,
}


def oslo_option(option):
    """The option of oslo.config for an Option of a filter, a weigher or a request filter."""
    limits = {} if option.least is None else {"min": option.least}
    if option.choices is not None:
        limits["choices"] = list(option.choices)
    default = list(option.default) if isinstance(option.default, tuple) else option.default
    return _KINDS[option.kind](option.name, default=default, mutable=True, help=option.help, **limits)


def declared_opts(section: str) -> list:
    """The options of a section that filters, weighers and request filters declare."""
    return [oslo_option(option) for option in OPTIONS if option.section == section]


def weigher_opts(group):
    """The multipliers of the built-in weighers whose options are in a section."""
    return [
        cfg.FloatOpt(
            weigher.option,
            default=weigher.default_multiplier,
            mutable=True,
            min=weigher.least,
            help=f"Multiplier of the {name}: {' '.join((weigher.__doc__ or '').split())}",
        )
        for name, weigher in weighers.BUILT_IN.items()
        if weigher.group == group.name
    ]


def list_opts():
    """The options of the scheduler, for oslo-config-generator; those of ``[neutron]`` are listed by neutron.py."""
    return [
        (None, declared_opts("DEFAULT")),
        (scheduler_rpc.GROUP, SCHEDULER_OPTS + declared_opts("scheduler")),
        (FILTER_GROUP, FILTER_OPTS + declared_opts("filter_scheduler") + weigher_opts(FILTER_GROUP)),
        (METRICS_GROUP, declared_opts("metrics") + weigher_opts(METRICS_GROUP)),
        (WORKAROUND_GROUP, declared_opts("workarounds")),
        (COMPUTE_GROUP, declared_opts("compute")),
        (notifications.GROUP, notifications.OPTS),
        (shadow.GROUP, shadow.OPTS),
    ]


def register(conf) -> None:
    """Register the scheduler's options, and those that all services share."""
    config.register(conf, (*list_opts(), (neutron.GROUP, neutron.OPTS)))


def policy_of(conf) -> Policy:
    """The policy that the configuration describes; UsageError for a filter or weigher that does not exist."""
    options = conf.filter_scheduler
    catalogue, used = catalogue_of(conf)
    return Policy(
        catalogue=catalogue,
        enabled_filters=tuple(options.enabled_filters),
        weighers=tuple((name, _multiplier(conf, catalogue.weighers[name])) for name in used),
        host_subset_size=options.host_subset_size,
        max_attempts=conf.scheduler.max_attempts,
        pci_in_placement=options.pci_in_placement,
        **{option.field: _value(conf, option) for option in OPTIONS},
    )


def _value(conf, option):
    """The configured value of an Option, in the form of the policy."""
    if option.kind is Kind.NUMBER:
        return _finite(conf, option.section, option.name)
    value = (conf if option.section == "DEFAULT" else conf[option.section])[option.name]
    if option.kind is Kind.WEIGHTS:
        return _weights(value, f"[{option.section}] {option.name}")
    return tuple(value) if isinstance(value, list) else value


def _weights(settings, option):
    """(name, weight) of settings ``name=weight``, in their order; UsageError for others."""
    weights = []
    for setting in settings:
        name, _, weight = setting.partition("=")
        try:
            weights.append((name.strip(), float(weight)))
        except ValueError:
            weights.append(("", math.nan))
        if not weights[-1][0] or not math.isfinite(weights[-1][1]):
            raise errors.UsageError(f"{option} has {setting!r}, wanted name=number; fix it")
    return tuple(weights)


def catalogue_of(conf):
    """(Catalogue of the filters and weighers that the configuration names, the weighers that it uses);
    UsageError if one cannot be loaded."""
    options = conf.filter_scheduler
    return plugins.load(options.available_filters, options.enabled_filters, options.weight_classes)


def _multiplier(conf, weigher):
    """The configured multiplier of a weigher; a weigher of a deployer has its own."""
    if weigher.option not in conf[weigher.group]:
        return weigher.default_multiplier
    return _finite(conf, weigher.group, weigher.option)


def _finite(conf, group, option):
    value = conf[group][option]
    if not abs(value) <= GREATEST:
        raise errors.UsageError(f"[{group}] {option} is {value}, wanted a number of at most {GREATEST:g}; fix it")
    return value


def cells(conf):
    """(cell0, list of cells) as the scheduler takes them; UsageError if one is missing."""
    return cell0_of(config.cell0_log(conf)), [Cell(cell.name, cell.uuid, cell.log) for cell in config.cells_of(conf)]
