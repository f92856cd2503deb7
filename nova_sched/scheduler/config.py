"""Options of the scheduler, and the policy that they add up to. Names and defaults are nova's."""

import math

from oslo_config import cfg

from nova_sched import weighers
from nova_sched.projection.topology import GREATEST
from nova_sched.scheduler import neutron, plugins
from nova_sched.scheduler.service import Cell, cell0_of
from nova_sched.selection.policy import DEFAULT_FILTERS, Policy
from rpc_api import config, errors
from rpc_api.contracts import scheduler as scheduler_rpc
from rpc_api.objects.fields import ArchitectureField

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
]

FILTER_GROUP = cfg.OptGroup("filter_scheduler", "Filters and weighers")
FILTER_OPTS = [
    cfg.MultiStrOpt(
        "available_filters",
        default=[plugins.ALL_FILTERS],
        mutable=True,
        help="Filters that may be enabled, one a line: nova.scheduler.filters.all_filters for all that are "
        "built in, and paths of classes, or of modules with classes, as they are written for nova.",
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
        "and paths of classes as they are written for nova.",
    ),
    cfg.IntOpt(
        "host_subset_size",
        default=1,
        min=1,
        mutable=True,
        help="Of how many best hosts one is drawn. Hosts of one score are in an order that is drawn too.",
    ),
    cfg.StrOpt(
        "image_properties_default_architecture",
        mutable=True,
        choices=ArchitectureField().valid_values,
        help="Architecture of images that name none, for the ImagePropertiesFilter.",
    ),
    cfg.BoolOpt(
        "shuffle_best_same_weighed_hosts",
        default=False,
        mutable=True,
        help="Has no effect, and is there for configurations of nova's: equal hosts are always drawn from.",
    ),
    cfg.IntOpt(
        "max_io_ops_per_host",
        default=8,
        min=0,
        mutable=True,
        help="Number of builds, resizes and the like from which on the IoOpsFilter refuses a host.",
    ),
    cfg.IntOpt(
        "max_instances_per_host",
        default=50,
        min=1,
        mutable=True,
        help="Number of instances from which on the NumInstancesFilter refuses a host.",
    ),
    cfg.ListOpt(
        "isolated_images",
        default=[],
        mutable=True,
        help="UUIDs of the images that only go to the isolated_hosts, for the IsolatedHostsFilter.",
    ),
    cfg.ListOpt("isolated_hosts", default=[], mutable=True, help="Hosts of the IsolatedHostsFilter."),
    cfg.BoolOpt(
        "restrict_isolated_hosts_to_isolated_images",
        default=True,
        mutable=True,
        help="Whether the isolated_hosts take the isolated_images only.",
    ),
    cfg.StrOpt(
        "aggregate_image_properties_isolation_namespace",
        mutable=True,
        help="Beginning of the metadata keys that the AggregateImagePropertiesIsolation looks at.",
    ),
    cfg.StrOpt(
        "aggregate_image_properties_isolation_separator",
        default=".",
        mutable=True,
        help="What stands between that beginning and the name of a property.",
    ),
    cfg.BoolOpt(
        "pci_in_placement",
        default=False,
        mutable=True,
        help="Has no effect here, as in nova's own scheduler: nova-api and the conductor read it, and say in "
        "a request which of its groups are PCI devices.",
    ),
    cfg.ListOpt(
        "image_props_weight_setting",
        default=[],
        mutable=True,
        help="Weights of image properties for the ImagePropertiesWeigher: name=weight; all weigh 1 where empty.",
    ),
]
METRICS_GROUP = cfg.OptGroup("metrics", "MetricsWeigher and MetricsFilter")
METRICS_OPTS = [
    cfg.ListOpt("weight_setting", default=[], mutable=True, help="Weights of metrics: name=weight."),
    cfg.BoolOpt(
        "required",
        default=True,
        mutable=True,
        help="Whether a host without one of these metrics is a fault; otherwise it gets weight_of_unavailable.",
    ),
    cfg.FloatOpt(
        "weight_of_unavailable",
        default=-10000.0,
        mutable=True,
        help="Weight of a host that does not report one of the metrics.",
    ),
]
PREFILTER_OPTS = [
    cfg.BoolOpt(
        "query_placement_for_routed_network_aggregates",
        default=False,
        mutable=True,
        help="Ask Neutron for the segments of the request's networks, and only go to hosts of them.",
    ),
    cfg.BoolOpt(
        "limit_tenants_to_placement_aggregate",
        default=False,
        mutable=True,
        help="Only go to aggregates whose filter_tenant_id names the project, where there is one.",
    ),
    cfg.BoolOpt(
        "placement_aggregate_required_for_tenants",
        default=False,
        mutable=True,
        help="Refuse projects that no aggregate names, with limit_tenants_to_placement_aggregate.",
    ),
    cfg.BoolOpt(
        "query_placement_for_image_type_support",
        default=False,
        mutable=True,
        help="Only go to hosts that say that they can use the disk format of the image.",
    ),
    cfg.BoolOpt(
        "enable_isolated_aggregate_filtering",
        default=False,
        mutable=True,
        help="Only go to aggregates with required traits where the request asks for all of these.",
    ),
    cfg.BoolOpt(
        "image_metadata_prefilter",
        default=False,
        mutable=True,
        help="Only go to hosts whose traits say that they have the device models of the image.",
    ),
]
WORKAROUND_GROUP = cfg.OptGroup("workarounds", "Workarounds")
WORKAROUND_OPTS = [
    cfg.BoolOpt(
        "disable_fallback_pcpu_query",
        default=False,
        mutable=True,
        help="Do not look for VCPU where a guest with pinned CPUs finds no PCPU.",
    )
]
COMPUTE_GROUP = cfg.OptGroup("compute", "What schedulers and compute hosts must do alike")
COMPUTE_OPTS = [
    cfg.BoolOpt(
        "packing_host_numa_cells_allocation_strategy",
        default=False,
        mutable=True,
        help="Whether guests with a NUMA topology go to the NUMA nodes of a host with least left, instead of "
        "most; set it as on the compute hosts, which choose the nodes again.",
    )
]
DEFAULT_OPTS = [
    cfg.StrOpt(
        "default_availability_zone",
        default="nova",
        mutable=True,
        help="Availability zone of hosts that no aggregate gives one.",
    )
]


def weigher_opts(group):
    """The multipliers of the built-in weighers that have theirs in a section."""
    return [
        cfg.FloatOpt(
            one.option,
            default=one.default_multiplier,
            mutable=True,
            min=one.least,
            help=f"Multiplier of the {name}: {' '.join((one.__doc__ or '').split())}",
        )
        for name, one in weighers.BUILT_IN.items()
        if one.group == group.name
    ]


def list_opts():
    """The options of the scheduler, for oslo-config-generator; those of ``[neutron]`` are listed by neutron.py."""
    return [
        (None, DEFAULT_OPTS),
        (scheduler_rpc.GROUP, SCHEDULER_OPTS + PREFILTER_OPTS),
        (FILTER_GROUP, FILTER_OPTS + weigher_opts(FILTER_GROUP)),
        (METRICS_GROUP, METRICS_OPTS + weigher_opts(METRICS_GROUP)),
        (WORKAROUND_GROUP, WORKAROUND_OPTS),
        (COMPUTE_GROUP, COMPUTE_OPTS),
    ]


def register(conf) -> None:
    """Register the scheduler's options, and those that all services share."""
    config.register(conf)
    for group, options in (*list_opts(), (neutron.GROUP, neutron.OPTS)):
        config.register_in(conf, group, options)


def policy_of(conf) -> Policy:
    """The policy that the configuration describes; UsageError for a filter or weigher that there is not."""
    options, prefilters = conf.filter_scheduler, {one.name: conf.scheduler[one.name] for one in PREFILTER_OPTS}
    catalogue, used = catalogue_of(conf)
    as_they_are = {
        one.name: _frozen(options[one.name])
        for one in FILTER_OPTS
        if one.name not in ("available_filters", "weight_classes", "image_props_weight_setting")
    }
    return Policy(
        catalogue=catalogue,
        weighers=tuple((name, _multiplier(conf, catalogue.weighers[name])) for name in used),
        max_attempts=conf.scheduler.max_attempts,
        default_availability_zone=conf.default_availability_zone,
        image_props_weight_setting=_weights(
            options.image_props_weight_setting, "[filter_scheduler] image_props_weight_setting"
        ),
        metrics_weight_setting=_weights(conf.metrics.weight_setting, "[metrics] weight_setting"),
        metrics_required=conf.metrics.required,
        metrics_weight_of_unavailable=_finite(conf, "metrics", "weight_of_unavailable"),
        disable_fallback_pcpu_query=conf.workarounds.disable_fallback_pcpu_query,
        packing_host_numa_cells_allocation_strategy=conf.compute.packing_host_numa_cells_allocation_strategy,
        **as_they_are,
        **prefilters,
    )


def _frozen(value):
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
            raise errors.UsageError(f"{option} has {setting!r}, wanted name=number; mend it")
    return tuple(weights)


def catalogue_of(conf):
    """(Catalogue of the filters and weighers that the configuration names, the weighers that it uses);
    UsageError for what cannot be loaded."""
    options = conf.filter_scheduler
    return plugins.load(options.available_filters, options.enabled_filters, options.weight_classes)


def _multiplier(conf, weigher):
    """What the configuration says of a weigher; one of a deployer has its multiplier itself."""
    if weigher.option not in conf[weigher.group]:
        return weigher.default_multiplier
    return _finite(conf, weigher.group, weigher.option)


def _finite(conf, group, option):
    value = conf[group][option]
    if not abs(value) <= GREATEST:
        raise errors.UsageError(f"[{group}] {option} is {value}, wanted a number of at most {GREATEST:g}; mend it")
    return value


def cells(conf):
    """(cell0, list of cells) as the scheduler takes them; UsageError for what is missing."""
    return cell0_of(config.cell0_log(conf)), [Cell(one.name, one.uuid, one.log) for one in config.cells_of(conf)]
