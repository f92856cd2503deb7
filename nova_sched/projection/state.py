"""The attributes of the state of one log, which the writers of a projection use."""

import abc
from collections import Counter

from nova_sched.projection.ledger import Entry, GroupIndex, Host
from nova_sched.projection.rules import Rules
from nova_sched.projection.table import HostTable
from nova_sched.projection.tracked import TrackedInstances
from rpc_api.events import AggregateUpdated
from rpc_api.proof import Trail


class State(abc.ABC):
    """Base of the projection, which sets these."""

    cell: str
    table: HostTable
    cell_index: int
    #: False if records before the start of the log were removed: then no event counts until a LogRebased.
    whole: bool
    #: None until the first record is folded.
    epoch: str | None
    #: Position of the last record folded, -1 before any.
    position: int
    #: The last records folded: they prove to which log the state belongs.
    trail: Trail
    hosts: dict[str, Host]
    #: Consumer uuid -> its entries (more than one only while reports contradict each other).
    consumers: dict[str, tuple[Entry, ...]]
    #: Those of them that have more than one.
    several: set[str]
    groups: GroupIndex
    #: The time for which conductors watched the claims of this log; 0 without the rule ``claims_have_an_age``.
    watched_ms: int
    #: Consumer uuid -> its entry, of the claims that came after the last ClaimsWatched.
    unwatched: dict[str, Entry]
    #: Producer -> (epoch, sequence) of its last event.
    producers: dict[str, tuple[int, int]]
    #: Aggregate uuid -> AggregateUpdated, as this log has it (the table has those of all logs).
    aggregates: dict[str, AggregateUpdated]
    #: Provider uuid -> name of the host that reports it.
    provider_hosts: dict[str, str]
    #: The hosts on which nova-compute reports instances.
    tracked: TrackedInstances
    #: Affinity group -> (cell, host, number): see GroupAnchored.
    anchors: dict[str, tuple[str, str, int]]
    #: Affinity group -> the highest anchor under which nothing may be claimed here.
    fences: dict[str, int]
    #: The level of the log here: the forms of its events and the rules of the fold (see LevelPinned).
    level: int
    rules: Rules
    #: Position of the record that gave the log this level, -1 at level 1.
    pinned_at: int
    #: Whether an event only counts with an account that may publish for its producer.
    accounts_required: bool
    #: Counts by kind; not a part of the state.
    counts: Counter[str]

    @abc.abstractmethod
    def forget(self) -> None:
        """Remove all state of this log, also from the table."""

    @abc.abstractmethod
    def use_level(self, level: int, position: int = -1) -> None:
        """The log has a level from the record at a position on; a level above :data:`rpc_api.levels.LEVEL` is not known
        to this process."""
