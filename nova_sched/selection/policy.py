"""The policy: every option that a decision depends on, frozen, with a digest that each decision records."""

import json
import sys
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

from nova_sched import filters, weighers
from nova_sched.filters.base import Filter
from nova_sched.filters.options import Kind
from nova_sched.selection import prefilters
from nova_sched.selection.catalogue import BUILT_IN, Catalogue
from nova_sched.weighers.base import Weigher
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
#: The options of the filters, weighers and request filters, each once: several of them may share an option.
OPTIONS = tuple(
    dict.fromkeys(
        (
            *(
                option
                for declared in (*filters.ALWAYS, *filters.BUILT_IN.values(), *weighers.BUILT_IN.values())
                for option in declared.options
            ),
            *prefilters.OPTIONS,
        )
    )
)
#: A field for each of them.
_Declared: Any = make_dataclass(
    "_Declared", [(option.field, object, option.default) for option in OPTIONS], frozen=True, kw_only=True
)
_PAIRS = frozenset({"weighers", *(option.field for option in OPTIONS if option.kind is Kind.WEIGHTS)})


@dataclass(frozen=True)
class Policy(_Declared):  # type: ignore[misc]  # its base is made of OPTIONS, which mypy cannot see
    """The options of the decision itself; those of filters, weighers and request filters are fields too (OPTIONS).

    ``weighers`` are (name, multiplier); ``max_attempts`` counts the selected host and its alternates. ``catalogue`` has
    the filters and weighers by their names: it is not an option, and is not in the digest.

    ``check_claims`` is False only in the policies of older schedulers, so that their decisions can be made again: those
    did not ask whether the log would accept a claim, ran the filters of server groups only if they were enabled, and
    let an affinity group go to each host that the request names.
    """

    enabled_filters: tuple[str, ...] = DEFAULT_FILTERS
    weighers: tuple[tuple[str, float], ...] = DEFAULT_WEIGHERS
    host_subset_size: int = 1
    max_attempts: int = 3
    #: Not an option any more, and without effect. It stays because it is in the digests of recorded decisions.
    shuffle_best_same_weighed_hosts: bool = False
    pci_in_placement: bool = False
    check_claims: bool = True
    catalogue: Catalogue = field(default=BUILT_IN, repr=False, compare=False)

    def __post_init__(self) -> None:
        for kind, names, known in (
            ("filter", self.enabled_filters, self.catalogue.filters),
            ("weigher", [name for name, _ in self.weighers], self.catalogue.weighers),
        ):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise errors.UsageError(
                    f"there is no {kind} {unknown[0]!r}, wanted one of {', '.join(sorted(known))}; "
                    "fix [filter_scheduler] "
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

    def _options(self) -> dict[str, Any]:
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "catalogue"}

    @classmethod
    def from_json(cls, text: str, catalogue: Catalogue = BUILT_IN) -> "Policy":
        """The policy of :meth:`to_json`; UsageError for filters or weighers that are not in the catalogue, InvalidEvent
        for a text that cannot be read."""
        try:
            options = json.loads(text)
            if type(options) is not dict:
                raise ValueError("it is not a map of options")
            options.setdefault("check_claims", False)
            return cls(
                catalogue=catalogue, **{name: _checked(cls, name, _frozen(value)) for name, value in options.items()}
            )
        except (ValueError, TypeError, KeyError, RecursionError) as fault:
            raise errors.InvalidEvent(
                f"a policy cannot be read ({fault!s:.200}); fix the scheduler that adopted it"
            ) from None

    def of_this_release(self) -> "Policy":
        """The same options without what only older releases did."""
        return replace(self, check_claims=True)

    @cached_property
    def filters(self) -> tuple[Filter, ...]:
        """Filters in the order in which they run, each once: first those that always run, then those that are enabled,
        then those of hard group policies."""
        names = (*self.enabled_filters, *(filters.OF_GROUPS if self.check_claims else ()))
        return tuple(dict.fromkeys((*filters.ALWAYS, *(self.catalogue.filters[name] for name in names))))

    @cached_property
    def weighing(self) -> tuple[tuple[Weigher, float], ...]:
        """(weigher, multiplier) in the order in which they are added up."""
        return tuple((self.catalogue.weighers[name], multiplier) for name, multiplier in self.weighers)

    @cached_property
    def has_classes_of_deployers(self) -> bool:
        """Whether a filter or weigher is not a built-in one."""
        built_in = {*filters.ALWAYS, *filters.BUILT_IN.values(), *weighers.BUILT_IN.values()}
        return not built_in.issuperset((*self.filters, *(weigher for weigher, _ in self.weighing)))


def _checked(cls: type[Policy], name: str, value: Any) -> Any:
    """The value of an option; ValueError if it is of another kind than the default."""
    default = getattr(cls, name, None)
    if type(default) is tuple:
        good = type(value) is tuple and all(map(_is_pair if name in _PAIRS else _is_text, value))
    elif type(default) is float:
        good = is_number(value)
    elif default is None:
        good = value is None or type(value) is str
    else:
        good = type(value) is type(default)
    if not good:
        raise ValueError(f"{name} is of another kind")
    return value


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_pair(value: object) -> bool:
    """Whether a value is a pair of a name and a number."""
    return type(value) is tuple and len(value) == 2 and _is_text(value[0]) and is_number(value[1])


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, which a float can have."""
    # (math.isfinite raises for an int that is too large for a float.)
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _frozen(value: Any) -> Any:
    """The lists of JSON as the tuples of a policy."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
