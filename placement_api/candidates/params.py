"""Values of query strings that several routes have: amounts of resources, traits and aggregates.

The texts of errors are an interface: Placement's own tests look for them.
"""

from typing import NamedTuple

from placement_api.http_errors import BadRequest
from placement_api.request import uuid_of

REPEATS_MEMBER_OF = (1, 24)
FORBIDS_TRAITS = (1, 22)
FORBIDS_AGGREGATES = (1, 32)
HAS_ANY_TRAITS = (1, 39)
#: No provider has more of a class, and a greater number does not fit a column of the table.
MOST = 2**53

_RESOURCES = (
    "Badly formed resources parameter. Expected resources query string parameter in form: "
    "?resources=VCPU:2,MEMORY_MB:1024. Got: {}."
)
_TRAITS = "Invalid query string parameters: Expected 'required' parameter value of the form: {}. {}: {}"
_ANY_TRAITS = "Invalid query string parameters: The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' {}. Got: {}"


class Traits(NamedTuple):
    """What a parameter wants: all of ``required``, one of each of ``any_of``, and none of ``forbidden``."""

    required: tuple[str, ...]
    any_of: tuple[tuple[str, ...], ...]
    forbidden: tuple[str, ...]

    def names(self) -> list[str]:
        """All traits that are named, in their order."""
        return [*self.required, *(name for names in self.any_of for name in names), *self.forbidden]


class Aggregates(NamedTuple):
    """What a parameter wants: one aggregate of each of ``member_of``, and none of ``forbidden``."""

    member_of: tuple[tuple[str, ...], ...]
    forbidden: tuple[str, ...]


NO_TRAITS = Traits((), (), ())
NO_AGGREGATES = Aggregates((), ())


def resources_of(value: str) -> dict[str, int]:
    """Class -> amount of ``VCPU:2,MEMORY_MB:1024``; of a class that is named twice the last amount counts."""
    if not value.strip():
        raise BadRequest(_RESOURCES.format("empty string"))
    found = {}
    for part in value.split(","):
        name, *rest = part.split(":")
        if len(rest) != 1:
            raise BadRequest(_RESOURCES.format(part))
        try:
            amount = int(rest[0])
        except ValueError:
            raise BadRequest(f"Requested resource {name} expected positive integer amount. Got: {rest[0]}.") from None
        if amount < 1:
            raise BadRequest(f"Requested resource {name} requires amount >= 1. Got: {amount}.")
        found[name] = min(amount, MOST)
    return found


def traits_of(request, suffix: str = "") -> Traits:
    """The traits of ``required`` with a suffix. Before microversion 1.39 only the last one counts."""
    values = request.GET.getall(f"required{suffix}")
    if request.version < HAS_ANY_TRAITS:
        values = values[-1:]
    found = [_traits_of(value, request.version) for value in values]
    return Traits(
        tuple(dict.fromkeys(name for one in found for name in one.required)),
        tuple(dict.fromkeys(names for one in found for names in one.any_of)),
        tuple(sorted({name for one in found for name in one.forbidden})),
    )


def traits_of_root(value: str) -> Traits:
    """The traits of ``root_required``, which has no ``in:``."""
    return _traits_of(value, FORBIDS_TRAITS)


def _traits_of(value: str, version) -> Traits:
    if value.startswith("in:"):
        return _any_traits_of(value, version)
    may_forbid = version >= FORBIDS_TRAITS
    form = "HW_CPU_X86_VMX,!CUSTOM_MAGIC" if may_forbid else "HW_CPU_X86_VMX,CUSTOM_MAGIC"
    names = [name.strip() for name in value.split(",")]
    # As Placement does, several exclamation marks count as one.
    forbidden = [name.lstrip("!") for name in names if name.startswith("!")]
    if not all(names) or not all(forbidden):
        raise BadRequest(_TRAITS.format(form, "Got an empty trait in", value))
    if forbidden and not may_forbid:
        raise BadRequest(_TRAITS.format(form, "Got", value))
    required = [name for name in names if not name.startswith("!")]
    return Traits(tuple(dict.fromkeys(required)), (), tuple(dict.fromkeys(forbidden)))


def _any_traits_of(value: str, version) -> Traits:
    if version < HAS_ANY_TRAITS:
        raise BadRequest(_ANY_TRAITS.format("only supported since microversion 1.39", value))
    names = sorted({name.strip() for name in value[3:].split(",")})
    if not all(names):
        raise BadRequest(_TRAITS.format("in:HW_CPU_X86_VMX,CUSTOM_MAGIC", "Got an empty trait in", value))
    if any(name.startswith("!") for name in names):
        raise BadRequest(_ANY_TRAITS.format("does not support forbidden traits", value))
    return Traits(tuple(names), (), ()) if len(names) == 1 else Traits((), (tuple(names),), ())


def aggregates_of(request, suffix: str = "") -> Aggregates:
    """The aggregates of ``member_of`` with a suffix, which may be repeated from microversion 1.24 on."""
    values = request.GET.getall(f"member_of{suffix}")
    if len(values) > 1 and request.version < REPEATS_MEMBER_OF:
        raise BadRequest(f"Multiple member_of{suffix} parameters are not supported")
    member_of, forbidden = [], set()
    for value in values:
        is_forbidden, uuids = _aggregates_of(value)
        if not is_forbidden:
            member_of.append(uuids)
        elif request.version < FORBIDS_AGGREGATES:
            raise BadRequest(f"Forbidden member_of{suffix} parameters are not supported in the specified microversion")
        else:
            forbidden |= set(uuids)
    return Aggregates(tuple(member_of), tuple(sorted(forbidden)))


def _aggregates_of(value: str) -> tuple[bool, tuple[str, ...]]:
    """Whether the aggregates are forbidden, and their uuids."""
    is_forbidden = value.startswith("!")
    listed = value[1:] if is_forbidden else value
    if listed.startswith("in:"):
        given = listed[3:].split(",")
    elif "," in value:
        raise BadRequest(
            "Multiple values for 'member_of' must be prefixed with the 'in:' or '!in:' keyword using the valid "
            f"microversion. Got: {value}"
        )
    else:
        given = [listed]
    uuids = {text: uuid_of(text) for text in given}
    wrong = [text for text, uuid in uuids.items() if uuid is None]
    if wrong:
        raise BadRequest(
            f"Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). Got: {wrong[0]}"
        )
    return is_forbidden, tuple(sorted({uuid for uuid in uuids.values() if uuid is not None}))
