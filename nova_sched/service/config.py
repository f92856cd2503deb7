"""Options of the scheduler, and the policy that they add up to. Names and defaults are nova's."""

from oslo_config import cfg

from nova_sched import weighers
from nova_sched.selection.policy import DEFAULT_FILTERS, Policy
from nova_sched.service.scheduler import Cell, cell0_of
from rpc_api import config, errors
from rpc_api import scheduler as scheduler_rpc

ALL_WEIGHERS = "nova.scheduler.weights.all_weighers"
#: Weighers that cannot be turned around: a negative multiplier is refused, as nova does.
_NOT_NEGATIVE = ("soft_affinity_weight_multiplier", "soft_anti_affinity_weight_multiplier")

SCHEDULER_OPTS = [
    cfg.FloatOpt("claim_timeout", default=30.0, min=0.1,
                 help="Seconds in which a claim must have been read back from its log; after it the request fails."),
    cfg.FloatOpt("cell_down_after", default=5.0, min=0.0,
                 help="Seconds that a cell's log may not be readable before nothing is scheduled to the cell."),
]

FILTER_GROUP = cfg.OptGroup("filter_scheduler", "Filters and weighers")
FILTER_OPTS = [
    cfg.ListOpt("enabled_filters", default=list(DEFAULT_FILTERS), mutable=True,
                help="Filters that are asked of each host, in this order."),
    cfg.ListOpt("weight_classes", default=[ALL_WEIGHERS], mutable=True,
                help="Weighers that are used: names, class paths of nova's, or nova.scheduler.weights.all_weighers."),
    cfg.IntOpt("host_subset_size", default=1, min=1, mutable=True,
               help="Of how many best hosts one is drawn."),
    cfg.StrOpt("image_properties_default_architecture", mutable=True,
               help="Architecture of images that name none, for the ImagePropertiesFilter."),
]
DEFAULT_OPTS = [
    cfg.StrOpt("default_availability_zone", default="nova", mutable=True,
               help="Availability zone of hosts that no aggregate gives one."),
]


def weigher_opts():
    """One multiplier for each built-in weigher that has an option."""
    return [cfg.FloatOpt(one.option, default=one.default_multiplier, mutable=True,
                         min=0.0 if one.option in _NOT_NEGATIVE else None,
                         help=f"Multiplier of the {name}: {' '.join((one.__doc__ or '').split())}")
            for name, one in weighers.BUILT_IN.items() if one.option]


def list_opts():
    """All options of the scheduler, for oslo-config-generator."""
    return [(None, DEFAULT_OPTS), (scheduler_rpc.GROUP, SCHEDULER_OPTS), (FILTER_GROUP, FILTER_OPTS + weigher_opts())]


def register(conf) -> None:
    """Register the scheduler's options, and those that all services share."""
    config.register(conf)
    for group, options in list_opts():
        config.register_in(conf, group, options)


def policy_of(conf) -> Policy:
    """The policy that the configuration describes; UsageError for a filter or weigher that there is not."""
    options = conf.filter_scheduler
    return Policy(
        enabled_filters=tuple(options.enabled_filters), weighers=tuple(_weighers(options)),
        host_subset_size=options.host_subset_size, max_attempts=conf.scheduler.max_attempts,
        default_availability_zone=conf.default_availability_zone,
        image_properties_default_architecture=options.image_properties_default_architecture)


def _weighers(options):
    names = []
    for wanted in options.weight_classes:
        names.extend(weighers.BUILT_IN if wanted == ALL_WEIGHERS else [wanted.rpartition(".")[2]])
    for name in dict.fromkeys(names):
        known = weighers.BUILT_IN.get(name)
        if known is None:
            raise errors.UsageError(f"there is no weigher {name!r}, wanted {ALL_WEIGHERS} or some of "
                                    f"{', '.join(sorted(weighers.BUILT_IN))}; mend [filter_scheduler] weight_classes")
        yield name, options[known.option] if known.option else known.default_multiplier


def cells(conf):
    """(cell0, list of cells) as the scheduler takes them; UsageError for what is missing."""
    return cell0_of(config.cell0_log(conf)), [Cell(one.name, one.uuid, one.log) for one in config.cells_of(conf)]
