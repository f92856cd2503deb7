"""The subjects of events, and the search for events by their subjects.

Only :func:`subjects` decides which hosts, instances and requests an event concerns. A :class:`Match` first searches the
bytes of a record (names and uuids are plain text there), and decodes only records that can match.
"""

import fnmatch
import re
from typing import NamedTuple

from rpc_api import codec, errors, events
from rpc_api.events import EVENTS

#: The type name of events that cannot be read.
SET_ASIDE = "set-aside"
KEYS = ("host", "instance", "request", "project", "type", "cell")


class Subjects(NamedTuple):
    """The subjects of an event: names of hosts; uuids of instances (and of migrations); uuids of claims; ids of
    requests."""

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
        (
            "LogOpened",
            "LogRestored",
            "LogRebased",
            "AccountsRequired",
            "LevelPinned",
            "PolicyAdopted",
            "AggregateDeleted",
            "GroupFenced",
            "ClaimsWatched",
            "StateKept",
            "CheckpointNamed",
        ),
        lambda data: _NOTHING,
    ),
}


def subjects(event) -> Subjects:
    """Return the subjects of an :class:`~rpc_api.codec.Event`. A report is about its host, not about the instances
    there."""
    return _SUBJECTS[event.name](event.data)


def project_of(event) -> str | None:
    """Return the project of an event; None if it has none, or if its evidence cannot be read."""
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
    """Names of hosts, with ``*``, ``?`` and ``[...]`` as in a shell."""

    def __init__(self, patterns):
        self.patterns = tuple(patterns)
        self._matches = re.compile("|".join(f"(?:{fnmatch.translate(pattern)})" for pattern in self.patterns)).fullmatch

    def __contains__(self, name):
        return self._matches(name) is not None

    @property
    def needles(self):
        """The longest literal part of each pattern; None if a pattern has none."""
        parts = [max(re.split(r"\[[^]]*\]|[*?]", pattern), key=len).encode() for pattern in self.patterns]
        return parts if all(parts) else None


class Trail:
    """Wanted instances or requests, and what belongs to them: the consumers and claims of an instance, and the
    instances of a request. It learns these from the events that it is given."""

    def __init__(self, names, requests: bool):
        self.names = frozenset(names)
        self._requests = requests
        #: Uuids that belong to the names.
        self.found = set()

    @property
    def needles(self):
        """The names, and all that belongs to them."""
        return [name.encode() for name in (*self.names, *self.found)]

    def leads_to(self, of: Subjects) -> bool:
        """Return whether an event belongs to the wanted subjects, and learn from it if it does."""
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
    """The condition for events.

    One value of each key must match. An event that matches one of ``excluded`` (key, value) is left out.
    ``also(cell, position, index, event)`` decides on the remaining events.
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
        """Groups of byte strings. A wanted event contains at least one of each group."""
        groups = [trail.needles for trail in self.trails]
        if self.hosts is not None and self.hosts.needles:
            groups.append(self.hosts.needles)
        if self.projects:
            groups.append([project.encode() for project in self.projects])
        if self.types and SET_ASIDE not in self.types:
            groups.append([type_.encode() for type_ in self.types])
        return groups

    def events_of(self, payload: bytes, cell: str, position: int) -> list:
        """Return the wanted events of a record: [(index, Event or SetAside)]."""
        self.learn(payload)
        return [
            (index, event)
            for index, event in codec.decode_holding(payload, self.groups())
            if self.wants(event, cell) and (self.also is None or self.also(cell, position, index, event))
        ]

    def learn(self, payload: bytes) -> None:
        """Learn from a record what belongs to the wanted instances and requests, for a second pass over earlier
        records."""
        for trail in self.trails:
            known = None
            while known != len(trail.found):
                known = len(trail.found)
                for _, event in codec.decode_holding(payload, [trail.needles]):
                    if isinstance(event, codec.Event):
                        trail.leads_to(subjects(event))

    def wants(self, event, cell: str) -> bool:
        """Return whether an event is wanted. An unreadable one is wanted if its bytes contain a wanted name."""
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
