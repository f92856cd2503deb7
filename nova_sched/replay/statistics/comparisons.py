"""What shadows compared: how often Nova chose the same host, and the causes of the differences."""

from collections import Counter
from typing import NamedTuple

from nova_sched.projection.state import CELL0
from nova_sched.replay.logs.reading import holding
from rpc_api.codec import Event

#: Verdicts without a difference, those with one, and those of which it is not known; in the order in which they are
#: shown.
ALIKE = ("same", "tie", "moved", "neither")
UNLIKE = ("different", "only-nova", "only-ours")
UNKNOWN = ("unseen", "late")


class Comparison(NamedTuple):
    """A DecisionCompared in the log of cell0: its position, producer and time, and its data."""

    position: int
    producer: str
    at_ns: int
    data: object

    @property
    def is_alternate(self) -> bool:
        """Whether Nova's host was an alternate of the shadow."""
        return self.data.nova_host in self.data.hosts[1:]


class Comparisons:
    """Totals of comparisons, and those that are ``shown`` (all of some verdicts, in the order of the log)."""

    def __init__(self, shown=UNLIKE):
        self._shown = frozenset(shown)
        #: (Verdict, cause, part) -> number of instances.
        self.causes = Counter()
        self.verdicts = Counter()
        #: Where Nova's choices were seen -> number.
        self.seen_in = Counter()
        #: Shadow -> number of its comparisons.
        self.shadows = Counter()
        self.requests = set()
        self.alternates = self.from_memory = 0
        self.first_ns = self.last_ns = None
        self.shown = []

    def add(self, comparison: Comparison) -> None:
        """Count a comparison."""
        data = comparison.data
        self.verdicts[data.verdict] += 1
        self.causes[data.verdict, data.cause, data.part] += 1
        self.seen_in[data.seen_in or "nothing"] += 1
        self.shadows[comparison.producer] += 1
        self.requests.add(data.request_id)
        self.alternates += comparison.is_alternate
        self.from_memory += bool(data.from_memory)
        self.first_ns = comparison.at_ns if self.first_ns is None else self.first_ns
        self.last_ns = comparison.at_ns
        if data.verdict in self._shown:
            self.shown.append(comparison)

    @property
    def total(self) -> int:
        """Number of instances that were compared."""
        return self.verdicts.total()

    @property
    def differences(self) -> int:
        """Number of instances for which another host was chosen, and chance is not the reason."""
        return sum(self.verdicts[verdict] for verdict in UNLIKE)


def comparisons_in(logs, first: int | None = None):
    """Yield the Comparison of each DecisionCompared in the log of cell0 from a position on, each once."""
    seen = set()
    for position, record in holding(logs[CELL0], (b"DecisionCompared",), first):
        for event in record.events:
            if isinstance(event, Event) and event.name == "DecisionCompared":
                key = event.producer, event.producer_epoch, event.sequence
                if key not in seen:
                    # A producer tries again: the same event may be in a log twice.
                    seen.add(key)
                    yield Comparison(position, event.producer, event.at_ns, event.data)
