"""The recorded traffic of logs, its results, and the records of several logs in the order of time."""

import heapq
from collections import Counter
from typing import NamedTuple

from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.decisions.recorded import recorded_of
from nova_sched.replay.logs.moments import time_of
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.state.history import History
from nova_sched.replay.what_if.measures import stranded_in, use_of, vcpu_capacity_of
from rpc_api.codec import Event

#: Number of moments to note; at most twice as many are kept.
SAMPLES = 240
#: Resource classes whose stranded amounts are shown.
STRANDED = ("VCPU", "MEMORY_MB")


class Sample(NamedTuple):
    """A moment of a run: its time, VCPUs in use, hosts with instances, stranded VCPUs, and instances that were refused
    until then."""

    at_ns: int
    used: int
    hosts: int
    stranded: int
    refused: int


class Tally:
    """The result of some traffic: ``asked``, ``placed`` (instance -> host of its last accepted claim), ``not_built``
    (placed instances whose builds all failed or whose claims expired), ``refused`` (reason -> instances), ``conflicts``
    (refused claims of schedulers), ``samples`` (Sample, by time), ``missing`` (decisions that cannot be made); and at
    the end: ``vcpus_used``, ``vcpu_capacity``, ``stranded``."""

    def __init__(self):
        self.asked = 0
        self.placed = {}
        self.not_built = set()
        self.refused = Counter()
        self.conflicts = 0
        self.missing = Counter()
        self.samples = []
        self.stranded = {}
        self.vcpus_used = self.vcpu_capacity = 0
        #: Names of all hosts that were ever reported.
        self.hosts = set()
        #: The resource classes in the recorded logs.
        self.classes = frozenset()
        self._last_ns = 0
        self._every = 1
        self._seen = 0

    def sample(self, at_ns, table, least, refused: int) -> None:
        """Add a Sample at even distances over the records."""
        self._seen += 1
        self._last_ns = at_ns if at_ns is not None else self._last_ns
        if at_ns is not None and self._seen % self._every == 0:
            self.samples.append(Sample(at_ns, *use_of(table, least), refused))
            if len(self.samples) > 2 * SAMPLES:
                del self.samples[::2]
                self._every *= 2

    def end(self, table, least) -> None:
        """Add the measures at the end."""
        use = use_of(table, least)
        self.vcpus_used, self.vcpu_capacity = use.used, vcpu_capacity_of(table)
        self.stranded = stranded_in(table, least)
        self.samples.append(Sample(self._last_ns, *use, self.refused.total()))

    @property
    def built(self) -> dict:
        """Instance -> host of the built instances."""
        return {uuid: host for uuid, host in self.placed.items() if uuid not in self.not_built}

    @property
    def hosts_used(self):
        """The number of hosts on which an instance was built."""
        return len(set(self.built.values()))


class Traffic(NamedTuple):
    """The recorded traffic: ``producers`` that decided, and the ``least`` requested amounts."""

    producers: list
    least: dict


def traffic_of(spool) -> Traffic:
    """Return the traffic of a spool of decisions."""
    least, producers = {}, sorted({producer for producer, _ in spool.voices()})
    for producer in producers:
        for recorded in spool.of_producer(producer):
            amounts = {}
            for group in recorded.evidence.request.groups:
                for resource in group.resources:
                    if resource.resource_class in STRANDED:
                        amounts.setdefault(resource.resource_class, []).append(resource.amount)
            for name, asked in amounts.items():
                least[name] = min(least.get(name, min(asked)), *asked)
    return Traffic(producers, least)


# --- as it was ------------------------------------------------------------------------------------------------------


def as_recorded(logs, traffic: Traffic, progress=lambda label, done, total: None) -> Tally:
    """Return the result of the traffic in the real logs."""
    tally, table = Tally(), HostTable()
    projections = {cell: Projection(cell, table, whole) for cell, whole in whole_of(logs).items()}
    asked, refused, started = set(), {}, set()
    for done, (cell, position, at_ns, record) in enumerate(by_time({cell: Feed(log) for cell, log in logs.items()}), 1):
        outcomes, _ = projections[cell].fold([(position, record)])
        accepted = {outcome.claim_uuid for outcome in outcomes if outcome.reason is None}
        tally.conflicts += sum(
            outcome.reason is not None and outcome.producer.startswith("scheduler/") for outcome in outcomes
        )
        for event in record.events:
            if not isinstance(event, Event):
                continue
            data = event.data
            if event.name == "HostReported":
                tally.hosts.add(data.host)
            elif event.name == "ClaimProposed" and data.claim_uuid in accepted:
                tally.placed[data.instance_uuid] = data.host
                tally.not_built.discard(data.instance_uuid)
                refused.pop(data.instance_uuid, None)
            elif event.name == "InstanceStarted":
                started.add(data.consumer.instance_uuid)
                tally.not_built.discard(data.consumer.instance_uuid)
            elif (event.name == "BuildFailed" and data.final) or event.name == "ClaimExpired":
                uuid = data.instance_uuid if event.name == "BuildFailed" else data.consumer_uuid
                if uuid in tally.placed and uuid not in started:
                    tally.not_built.add(uuid)
            elif event.name == "DecisionMade":
                recorded = recorded_of(cell, position, event)
                if recorded.evidence is not None and not recorded.evidence.request.check_only:
                    asked.add((data.request_id, data.instance_uuid))
                    if not recorded.is_selected:
                        refused[data.instance_uuid] = top_reason(recorded.evidence.refusals)
        tally.sample(at_ns, table, traffic.least, len(refused))
        if not done % 1000:
            progress("as recorded", done, count_of(logs))
    tally.asked, tally.refused = len(asked), Counter(refused.values())
    rest = tally.asked - len(tally.placed) - len(refused)
    if rest > 0:
        tally.refused["claims refused"] += rest
    tally.end(table, traffic.least)
    tally.classes = frozenset(table.classes.values)
    return tally


def top_reason(refusals):
    """Return the text of the reason for which most hosts were refused."""
    by_reason = Counter()
    for _, reason, hosts in refusals:
        by_reason[str(reason)] += hosts
    return max(sorted(by_reason), key=by_reason.get, default="no hosts")


# --- reading logs in the order of time -------------------------------------------------------------------------------


class Feed:
    """The records of a log with their times, one ahead."""

    def __init__(self, log):
        self._records = decoded_records(log)
        self._last_ns = 0
        self.next = None
        self.advance()

    def advance(self):
        found = next(self._records, None)
        if found is None:
            self.next = None
            return
        # The times of a log only grow here, even if a clock went back.
        at_ns = time_of(found[1].events)
        self._last_ns = max(self._last_ns, at_ns or 0)
        self.next = self._last_ns, *found


def by_time(feeds):
    heap = [(feed.next[0], cell) for cell, feed in feeds.items() if feed.next]
    heapq.heapify(heap)
    while heap:
        _, cell = heapq.heappop(heap)
        at_ns, position, record = feeds[cell].next
        yield cell, position, at_ns, record
        feeds[cell].advance()
        if feeds[cell].next:
            heapq.heappush(heap, (feeds[cell].next[0], cell))


def whole_of(logs):
    """Return cell -> whether its log still has its first records."""
    history = History(logs)
    return {cell: history.is_whole(cell) for cell in logs}


def count_of(logs):
    return sum(log.bounds().count for log in logs.values())
