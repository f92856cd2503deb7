"""The policies that logs say were adopted."""

import json
from dataclasses import fields
from hashlib import blake2b
from typing import NamedTuple

from nova_sched.replay.decisions.not_loaded import completed, words_for
from nova_sched.replay.logs.reading import readable_records
from nova_sched.selection.catalogue import BUILT_IN
from nova_sched.selection.policy import Policy
from rpc_api import codec, errors
from rpc_api.packing import pack

CELL0 = "cell0"
HOW_TO_LOAD = "name the schedulers' configuration, which loads it, with --config-file"


class PolicyMissing(errors.LogGap):
    """The policy of a decision is not in the logs, or names what this process has not loaded."""


class Adopted(NamedTuple):
    """A policy as it was adopted first: the ``cell`` and ``position`` of the adoption (None if it is not known), and
    the Policy. ``filters`` and ``weighers`` are the names of those that this process has not loaded: in the Policy each
    is replaced by one that refuses no host and gives no weight."""

    cell: str | None
    position: int | None
    policy: Policy
    filters: tuple = ()
    weighers: tuple = ()

    @property
    def is_whole(self):
        """Whether all its filters and weighers are loaded."""
        return not self.filters and not self.weighers

    @property
    def where(self) -> str:
        """Where it was adopted."""
        return "in the logs" if self.cell is None else f"in {self.cell} at position {self.position}"

    @property
    def not_loaded(self) -> str:
        """What of it is not loaded, in words."""
        return words_for(self.filters, self.weighers)


class PolicyBook:
    """The policies that logs say were adopted, by their digests; their filters and weighers are those of
    ``catalogue``."""

    def __init__(self, catalogue=BUILT_IN):
        self.catalogue = catalogue
        #: Digest -> Adopted, and of those that are whole the Policy.
        self.adopted, self.policies = {}, {}
        #: Digest -> why the policy of that digest cannot be used.
        self.unusable = {}
        #: The logs that were looked through: cell -> EventLog.
        self.logs = {}

    def adopt(self, data, cell: str | None = None, position: int | None = None) -> None:
        """Know a policy (a PolicyAdopted at a position of a cell's log) by its digest; one that is not what its digest
        says is nobody's."""
        if data.digest in self.adopted:
            return
        where = "in the logs" if cell is None else f"in {cell} at position {position}"
        try:
            options = _options_in(data.options)
            if blake2b(pack(options), digest_size=8).hexdigest() != data.digest:
                raise ValueError
        except (ValueError, RecursionError, errors.NovaSchedError):
            self.unusable.setdefault(
                data.digest, f"is {where} with options that are not those of its digest; see who adopted it"
            )
            return
        try:
            catalogue, filters, weighers = completed(self.catalogue, options)
            found = Adopted(cell, position, Policy.from_json(data.options, catalogue), filters, weighers)
        except errors.NovaSchedError as fault:
            self.unusable[data.digest] = f"is {where} and cannot be used: {_why_not(options, fault)}"
            return
        self.adopted[data.digest] = found
        if found.is_whole:
            self.policies[data.digest] = found.policy
        else:
            self.unusable[data.digest] = f"is {where}, and names {found.not_loaded}, not loaded here; {HOW_TO_LOAD}"

    def get(self, digest: str) -> Policy:
        """A policy; PolicyMissing where it is not known or not all of it is loaded."""
        if digest not in self.policies:
            raise PolicyMissing(f"its policy {digest} {self.why_missing(digest)}")
        return self.policies[digest]

    def why_missing(self, digest: str) -> str:
        """Why a policy cannot be used, after its name."""
        return self.unusable.get(digest) or self._absent()

    def get_adopted(self, digest: str) -> Adopted:
        """A policy as far as it is loaded; PolicyMissing where it is not known at all."""
        if digest not in self.adopted:
            self.get(digest)
        return self.adopted[digest]

    def _absent(self):
        """Why a policy is not known: schedulers say in cell0 by what they decide."""
        log = self.logs.get(CELL0)
        if log is None:
            return "is in none of the logs named; name that of cell0 too"
        first = log.bounds().first
        if first > 0:
            return (
                f"is in none of the logs named: that of cell0 begins at position {first}, what was before is "
                "removed; name an exported file that holds it"
            )
        return "is in none of the logs named, although that of cell0 is whole; see whether it is the log of this cloud"


def _options_in(text):
    options = json.loads(text)
    if type(options) is not dict:
        raise ValueError
    return options


def _why_not(options, fault):
    """Why options that a scheduler adopted cannot be used here."""
    newer = sorted(options.keys() - {field.name for field in fields(Policy)})
    if newer:
        return (
            f"it has the option {newer[0]!r}, which this version of nova_sched does not know; use the version of "
            "the scheduler that adopted it"
        )
    return str(fault)


# --- what changed ---------------------------------------------------------------------------------------------------


class PolicyTrail:
    """What each service adopted before: the policies of some logs, each log read once as far as it is asked about."""

    def __init__(self, logs):
        self._logs = logs
        #: Cell -> [(position, index, producer, PolicyAdopted)], and up to which position that is.
        self._found, self._read = {}, {}

    def before(self, cell: str, position: int, index: int, producer: str):
        """The PolicyAdopted of a service before one that stands at (position, index) of a cell's log; None where the
        log holds none."""
        self._read_to(cell, position)
        earlier = (
            data
            for at, number, whose, data in reversed(self._found[cell])
            if whose == producer and (at, number) < (position, index)
        )
        return next(earlier, None)

    def _read_to(self, cell, position):
        found, log = self._found.setdefault(cell, []), self._logs[cell]
        first = self._read.get(cell, log.bounds().first - 1) + 1
        if first > position:
            return
        for record in readable_records(log, first, position, lambda gap: None):
            if b"PolicyAdopted" in record.payload:
                for number, event in enumerate(codec.decode_record(record.payload).events):
                    if isinstance(event, codec.Event) and event.name == "PolicyAdopted":
                        found.append((record.position, number, event.producer, event.data))
        self._read[cell] = position


def differences(before: str | None, after: str) -> list[str]:
    """What differs between the options of two policies (JSON; None: the defaults), in a few words for each option.
    InvalidEvent where one of them cannot be read."""
    try:
        old = _options_in(before if before is not None else Policy().to_json())
        new = _options_in(after)
    except (ValueError, RecursionError) as fault:
        raise errors.InvalidEvent(
            f"the options of a policy cannot be read ({fault!s:.200}); see who adopted it"
        ) from None
    return [
        _difference(name, old.get(name), new.get(name))
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]


def _difference(name, old, new):
    if isinstance(old, list) and isinstance(new, list):
        before, after = (dict(_pair(item) for item in items) for items in (old, new))
        parts = [
            _of_item(item, before.get(item), after.get(item))
            for item in dict.fromkeys((*before, *after))
            if before.get(item) != after.get(item)
        ]
        return f"{name} {' '.join(parts) or 'in another order'}"
    return f"{name} {json.dumps(old)} -> {json.dumps(new)}"


def _pair(item):
    """(Name, value) of an item of a list of names, or of names with numbers."""
    if isinstance(item, list) and len(item) == 2:
        return str(item[0]), json.dumps(item[1])
    return (item if isinstance(item, str) else json.dumps(item)), ""


def _of_item(name, old, new):
    if new is None:
        return f"-{name}"
    return f"+{name}{f' {new}' if new else ''}" if old is None else f"{name} {old} -> {new}"
