"""The policy: every option that a decision depends on, frozen, with a digest that each decision records."""

import json
import math
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import blake2b

from nova_sched import filters, weighers
from nova_sched.selection.catalogue import BUILT_IN, Catalogue
from rpc_api import errors
from rpc_api.packing import pack

DEFAULT_FILTERS = (
    "ComputeFilter",
    "ComputeCapabilitiesFilter",
    "ImagePropertiesFilter",
    "ServerGroupAntiAffinityFilter",
    "ServerGroupAffinityFilter",
)
DEFAULT_WEIGHERS = tuple((name, weigher.default_multiplier) for name, weigher in weighers.BUILT_IN.items())


@dataclass(frozen=True)
class Policy:
    """``weighers`` are (name, multiplier); ``max_attempts`` counts the selected host and its alternates.

    ``catalogue`` is where the names of filters and weighers are looked up: it is no option, and stands in no digest.
    """

    enabled_filters: tuple[str, ...] = DEFAULT_FILTERS
    weighers: tuple[tuple[str, float], ...] = DEFAULT_WEIGHERS
    host_subset_size: int = 1
    max_attempts: int = 3
    default_availability_zone: str = "nova"
    image_properties_default_architecture: str | None = None
    shuffle_best_same_weighed_hosts: bool = False
    max_io_ops_per_host: int = 8
    max_instances_per_host: int = 50
    isolated_images: tuple[str, ...] = ()
    isolated_hosts: tuple[str, ...] = ()
    restrict_isolated_hosts_to_isolated_images: bool = True
    aggregate_image_properties_isolation_namespace: str | None = None
    aggregate_image_properties_isolation_separator: str = "."
    pci_in_placement: bool = False
    #: (name, weight) of image properties and of metrics.
    image_props_weight_setting: tuple[tuple[str, float], ...] = ()
    metrics_weight_setting: tuple[tuple[str, float], ...] = ()
    metrics_required: bool = True
    metrics_weight_of_unavailable: float = -10000.0
    limit_tenants_to_placement_aggregate: bool = False
    placement_aggregate_required_for_tenants: bool = False
    query_placement_for_image_type_support: bool = False
    enable_isolated_aggregate_filtering: bool = False
    image_metadata_prefilter: bool = False
    query_placement_for_routed_network_aggregates: bool = False
    disable_fallback_pcpu_query: bool = False
    packing_host_numa_cells_allocation_strategy: bool = False
    catalogue: Catalogue = field(default=BUILT_IN, repr=False, compare=False)

    def __post_init__(self):
        for kind, names, known in (
            ("filter", self.enabled_filters, self.catalogue.filters),
            ("weigher", [name for name, _ in self.weighers], self.catalogue.weighers),
        ):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise errors.UsageError(
                    f"there is no {kind} {unknown[0]!r}, wanted one of {', '.join(sorted(known))}; "
                    "mend [filter_scheduler] "
                    + (
                        "enabled_filters or available_filters"
                        if kind == "filter"
                        else "weight_classes, or --weigher of a play"
                    )
                )

    @cached_property
    def digest(self) -> str:
        """16 hex digits over all options."""
        return blake2b(pack(self._options()), digest_size=8).hexdigest()

    def to_json(self) -> str:
        """The options as JSON, by name."""
        return json.dumps(self._options(), sort_keys=True)

    def _options(self):
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "catalogue"}

    @classmethod
    def from_json(cls, text: str, catalogue: Catalogue = BUILT_IN) -> "Policy":
        """The policy of :meth:`to_json`; UsageError for filters or weighers that the catalogue has not, InvalidEvent
        for a text that is none."""
        try:
            options = json.loads(text)
            if type(options) is not dict:
                raise ValueError("it is no map of options")
            return cls(
                catalogue=catalogue, **{name: _checked(cls, name, _frozen(value)) for name, value in options.items()}
            )
        except (ValueError, TypeError, KeyError, RecursionError) as fault:
            raise errors.InvalidEvent(
                f"a policy cannot be read ({fault!s:.200}); mend the scheduler that adopted it"
            ) from None

    @cached_property
    def filters(self):
        """Filters in the order in which they are asked, each once: those that are always asked first."""
        return tuple(dict.fromkeys((*filters.ALWAYS, *(self.catalogue.filters[name] for name in self.enabled_filters))))

    @cached_property
    def weighing(self):
        """(weigher, multiplier) in the order in which they are added up."""
        return tuple((self.catalogue.weighers[name], multiplier) for name, multiplier in self.weighers)


def _checked(cls, name, value):
    """An option that may stand in a policy; ValueError for a value that is of another
    kind than what it is by default."""
    default = getattr(cls, name, None)
    if type(default) is tuple:
        # Only names, or pairs of a name and a number.
        pairs = name == "weighers" or name.endswith("_setting")
        good = type(value) is tuple and all(
            type(one) is tuple and len(one) == 2 and type(one[0]) is str and _is_number(one[1])
            if pairs
            else type(one) is str
            for one in value
        )
    elif type(default) is float:
        good = _is_number(value)
    elif default is None:
        good = value is None or type(value) is str
    else:
        good = type(value) is type(default)
    if not good:
        raise ValueError(f"{name} is of another kind")
    return value


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)


def _frozen(value):
    """JSON has lists where a policy has tuples."""
    return tuple(_frozen(one) for one in value) if isinstance(value, list) else value
