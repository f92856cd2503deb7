"""What an event is about, and how the events that are about something are found among many.

:func:`subjects` is the one place that says which hosts, instances and requests an event concerns. A :class:`Match`
looks for them in a record's bytes first (names and uuids stand there as plain text), and decodes only what can match.
"""

import fnmatch
import re
from typing import NamedTuple

from rpc_api import codec, errors, events
from rpc_api.events import EVENTS

#: The type by which events are named that cannot be read.
SET_ASIDE = "set-aside"
KEYS = ("host", "instance", "request", "project", "type", "cell")


class Subjects(NamedTuple):
    """What an event is about: names of hosts; uuids of instances (and of consumers that are not instances: migrations);
    uuids of claims; ids of requests."""

    hosts: tuple = ()
    instances: tuple = ()
    claims: tuple = ()
    requests: tuple = ()


def _of_host(data):
    return Subjects((data.host,))


def _of_claim(data):
    return Subjects((), (data.consumer_uuid,), (data.claim_uuid,))


_NOTHING = Subjects()
_SUBJECTS = {
    "HostReported": _of_host,
    "HostConfirmed": _of_host,
    "HostLost": _of_host,
    "HostSeen": _of_host,
    "HostRemoved": _of_host,
    "InstancesTracked": lambda data: Subjects(
        (data.host,), (*(instance.instance_uuid for instance in data.instances), *data.gone)
    ),
    "ClaimProposed": lambda data: Subjects(
        (data.host,),
        tuple(dict.fromkeys((data.instance_uuid, data.consumer_uuid))),
        (data.claim_uuid,),
        (data.request_id,),
    ),
    "ClaimReleased": _of_claim,
    "ClaimExpired": _of_claim,
    "InstanceStarted": lambda data: Subjects((data.host,), (data.consumer.instance_uuid,)),
    "InstanceDeleted": lambda data: Subjects((data.host,), (data.instance_uuid,)),
    "AllocationMoved": lambda data: Subjects((data.host,), (data.from_consumer_uuid, data.to_consumer_uuid)),
    "BuildFailed": lambda data: Subjects((data.host,), (data.instance_uuid,), (), (data.request_id,)),
    "DecisionMade": lambda data: Subjects(
        data.hosts, (data.instance_uuid,), (data.claim_uuid,) if data.claim_uuid else (), (data.request_id,)
    ),
    "RequestRefused": lambda data: Subjects((), data.instances, (), (data.request_id,)),
    "AggregateUpdated": lambda data: Subjects(data.hosts),
    "GroupAnchored": _of_host,
    **dict.fromkeys(
        ("LogOpened", "LogRebased", "AccountsRequired", "PolicyAdopted", "AggregateDeleted", "GroupFenced"),
        lambda data: _NOTHING,
    ),
}


def subjects(event) -> Subjects:
    """What an :class:`~rpc_api.codec.Event` is about. Of a report that is its host, and not what runs there."""
    return _SUBJECTS[event.name](event.data)


def project_of(event) -> str | None:
    """The project that an event is about; None where it says none (or its evidence cannot be read)."""
    if event.name == "ClaimProposed":
        return event.data.project_id
    if event.name == "InstanceStarted":
        return event.data.consumer.project_id
    if event.name == "DecisionMade":
        try:
            return events.thaw("Evidence", event.data.evidence).request.project_id
        except errors.InvalidEvent:
            return None
    return None


class Named:
    """Some names of hosts, with ``*``, ``?`` and ``[...]`` as in a shell."""

    def __init__(self, patterns):
        self.patterns = tuple(patterns)
        self._matches = re.compile("|".join(f"(?:{fnmatch.translate(pattern)})" for pattern in self.patterns)).fullmatch

    def __contains__(self, name):
        return self._matches(name) is not None

    @property
    def needles(self):
        """For each pattern its longest part that stands in a name as it is; None where a pattern has none."""
        parts = [max(re.split(r"\[[^]]*\]|[*?]", pattern), key=len).encode() for pattern in self.patterns]
        return parts if all(parts) else None


class Trail:
    """Instances or requests that are looked for, and what belongs to them: consumers and claims of an instance, and the
    instances of a request. It learns from the events that it is shown."""

    def __init__(self, names, requests: bool):
        self.names = frozenset(names)
        self._requests = requests
        #: Uuids that were found to belong to the names.
        self.found = set()

    @property
    def needles(self):
        """The names, and all that was found to belong to them."""
        return [name.encode() for name in (*self.names, *self.found)]

    def leads_to(self, of: Subjects) -> bool:
        """Whether an event belongs to what is looked for; learns from one that does."""
        if not (
            self.names.intersection(of.requests if self._requests else of.instances)
            or self.found.intersection(of.instances)
            or self.found.intersection(of.claims)
        ):
            return False
        self.found.update(of.instances, of.claims)
        self.found -= self.names
        return True


class Match:
    """Which events are wanted.

    Values of one key: any of them; of several keys: all of them. ``excluded`` are (key, value) pairs of events that
    are not wanted, whatever else they are. ``also(cell, position, index, event)`` is asked of what is left.
    """

    def __init__(self, hosts=(), instances=(), requests=(), projects=(), types=(), excluded=(), also=None):
        self.hosts = Named(hosts) if hosts else None
        self.trails = [
            Trail(names, of_requests) for names, of_requests in ((instances, False), (requests, True)) if names
        ]
        self.projects = frozenset(projects)
        self.types = frozenset(types)
        self.also = also
        self.excluded = {key: [value for name, value in excluded if name == key] for key in KEYS}
        unknown = [type_ for type_ in (*types, *self.excluded["type"]) if type_ not in EVENTS and type_ != SET_ASIDE]
        if unknown:
            raise errors.UsageError(
                f"there is no event type {unknown[0]!r}, wanted one of {SET_ASIDE}, "
                f"{', '.join(sorted(EVENTS))}; fix --type or --exclude"
            )
        self._unwanted_hosts = Named(self.excluded["host"]) if self.excluded["host"] else ()

    def groups(self):
        """Byte strings, of each group of which one must stand in an event that is wanted."""
        groups = [trail.needles for trail in self.trails]
        if self.hosts is not None and self.hosts.needles:
            groups.append(self.hosts.needles)
        if self.projects:
            groups.append([project.encode() for project in self.projects])
        if self.types and SET_ASIDE not in self.types:
            groups.append([type_.encode() for type_ in self.types])
        return groups

    def events_of(self, payload: bytes, cell: str, position: int) -> list:
        """The events of a record that are wanted: [(index, Event or SetAside)]."""
        self.learn(payload)
        return [
            (index, event)
            for index, event in codec.decode_holding(payload, self.groups())
            if self.wants(event, cell) and (self.also is None or self.also(cell, position, index, event))
        ]

    def learn(self, payload: bytes) -> None:
        """See what in a record belongs to the instances and requests that are looked for: what is shown of earlier
        records follows from that too, if they are looked at again."""
        for trail in self.trails:
            known = None
            while known != len(trail.found):
                known = len(trail.found)
                for _, event in codec.decode_holding(payload, [trail.needles]):
                    if isinstance(event, codec.Event):
                        trail.leads_to(subjects(event))

    def wants(self, event, cell: str) -> bool:
        """Whether an event is wanted. One that cannot be read is, where its bytes name what is looked for."""
        if cell in self.excluded["cell"]:
            return False
        if isinstance(event, codec.SetAside):
            return self._wants_aside(event)
        if (self.types and event.name not in self.types) or event.name in self.excluded["type"]:
            return False
        of = subjects(event)
        return (
            all(trail.leads_to(of) for trail in self.trails)
            and (self.hosts is None or any(host in self.hosts for host in of.hosts))
            and (not self.projects or project_of(event) in self.projects)
            and not self._is_unwanted(event, of)
        )

    def _is_unwanted(self, event, of):
        return (
            any(host in self._unwanted_hosts for host in of.hosts)
            or bool({*of.instances, *of.claims}.intersection(self.excluded["instance"]))
            or bool(set(of.requests).intersection(self.excluded["request"]))
            or (bool(self.excluded["project"]) and project_of(event) in self.excluded["project"])
        )

    def _wants_aside(self, event):
        if (self.types and SET_ASIDE not in self.types) or SET_ASIDE in self.excluded["type"]:
            return False
        return all(any(needle in event.raw for needle in group) for group in self.groups())
