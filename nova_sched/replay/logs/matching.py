"""The subjects of events, and the search for events by their subjects.

Only :func:`subjects` decides which hosts, instances and requests an event concerns. A :class:`Match` first searches the
bytes of a record (names and uuids are plain text there), and decodes only records that can match.
"""

import fnmatch
import re
from typing import NamedTuple

from nova_sched.projection import rules
from rpc_api import codec, errors, events
from rpc_api.events import EVENTS

#: The type name of events that cannot be read.
SET_ASIDE = "set-aside"
KEYS = ("host", "provider", "instance", "request", "project", "type", "cell")


class Subjects(NamedTuple):
    """The subjects of an event: names of hosts; uuids of instances (and of other consumers); uuids of claims; ids of
    requests; uuids and names of providers."""

    hosts: tuple = ()
    instances: tuple = ()
    claims: tuple = ()
    requests: tuple = ()
    providers: tuple = ()


def _of_host(data):
    return Subjects((data.host,))


def _of_claim(data):
    return Subjects((), (data.consumer_uuid,), (data.claim_uuid,))


def _of_provider(data):
    return Subjects((), (), (), (data.request_id,), (data.provider_uuid,))


def _of_named_provider(data):
    named = (data.provider_uuid, data.name, *([] if data.parent_uuid is None else [data.parent_uuid]))
    return Subjects((), (), (), (data.request_id,), named)


def _of_request(data):
    return Subjects((), (), (), (data.request_id,))


def consumers_in(data) -> tuple:
    """Return the ConsumerPuts of a write of Placement's API or of an import."""
    return (data.consumer,) if "consumer" in data._fields else getattr(data, "consumers", ())


def _of_consumers(data):
    consumers = consumers_in(data)
    return Subjects(
        tuple(dict.fromkeys(one.terms.host for one in consumers if one.terms is not None)),
        tuple(dict.fromkeys(uuid for one in consumers for uuid in _consumers_of(one))),
        (),
        (data.request_id,),
        tuple(
            dict.fromkeys(
                [
                    *(one.provider_uuid for one in getattr(data, "inventories", ())),
                    *(uuid for one in consumers for uuid in _providers_of(one.allocations)),
                ]
            )
        ),
    )


def _consumers_of(one):
    """A ConsumerPut is about its consumer, and about the instance for which a scheduler offered it."""
    return (one.consumer_uuid,) if one.terms is None else (one.terms.instance_uuid, one.consumer_uuid)


def _providers_of(allocations):
    return tuple(dict.fromkeys(allocation.provider_uuid for allocation in allocations))


#: The second byte of a record: its level. From this one on there are writes of Placement's API.
LEDGER = bytes([rules.SINCE["one_ledger"]])
_NOTHING = Subjects()
_SUBJECTS = {
    "HostReported": _of_host,
    "HostConfirmed": _of_host,
    "HostLost": _of_host,
    "HostSeen": _of_host,
    "HostRemoved": _of_host,
    "HostDisabled": _of_host,
    "HostEnabled": _of_host,
    "InstancesTracked": lambda data: Subjects(
        (data.host,), (*(instance.instance_uuid for instance in data.instances), *data.gone)
    ),
    "ClaimProposed": lambda data: Subjects(
        (data.host,),
        tuple(dict.fromkeys((data.instance_uuid, data.consumer_uuid))),
        (data.claim_uuid,),
        (data.request_id,),
        _providers_of(data.allocations),
    ),
    "ClaimReleased": _of_claim,
    "ClaimExpired": _of_claim,
    "InstanceStarted": lambda data: Subjects(
        (data.host,), (data.consumer.instance_uuid,), (), (), _providers_of(data.consumer.allocations)
    ),
    "InstanceDeleted": lambda data: Subjects((data.host,), (data.instance_uuid,)),
    "AllocationMoved": lambda data: Subjects((data.host,), (data.from_consumer_uuid, data.to_consumer_uuid)),
    "BuildFailed": lambda data: Subjects((data.host,), (data.instance_uuid,), (), (data.request_id,)),
    "DecisionMade": lambda data: Subjects(
        data.hosts, (data.instance_uuid,), (data.claim_uuid,) if data.claim_uuid else (), (data.request_id,)
    ),
    "DecisionCompared": lambda data: Subjects(
        tuple(dict.fromkeys((*data.hosts, *([data.nova_host] if data.nova_host else ())))),
        (data.instance_uuid,),
        (),
        (data.request_id,),
    ),
    "RequestRefused": lambda data: Subjects((), data.instances, (), (data.request_id,)),
    "AggregateUpdated": lambda data: Subjects(data.hosts),
    "GroupAnchored": _of_host,
    "ProvidersReported": _of_host,
    "AuthorityPassed": _of_host,
    "ProviderCreated": _of_named_provider,
    "ProviderChanged": _of_named_provider,
    "ProviderImported": _of_named_provider,
    **dict.fromkeys(("ProviderDeleted", "InventoriesPut", "TraitsPut", "AggregatesPut"), _of_provider),
    "AllocationsPut": _of_consumers,
    "Reshaped": _of_consumers,
    "AllocationsPrepared": _of_consumers,
    "ConsumerImported": _of_consumers,
    **dict.fromkeys(
        ("WriteCommitted", "WriteAborted"), lambda data: Subjects((), data.consumer_uuids, (), (data.request_id,))
    ),
    "WriteEnded": _of_request,
    "AllocationsDropped": lambda data: Subjects((), (data.consumer_uuid,), (), (data.request_id,)),
    **dict.fromkeys(("ClassCreated", "ClassRenamed", "ClassDeleted", "TraitCreated", "TraitDeleted"), _of_request),
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


def projects_of(event) -> tuple:
    """Return the projects of an event; none if its evidence cannot be read."""
    found: tuple = ()
    if event.name == "ClaimProposed":
        found = (event.data.project_id,)
    elif event.name == "InstanceStarted":
        found = (event.data.consumer.project_id,)
    elif event.name in ("AllocationsPut", "AllocationsPrepared", "Reshaped", "ConsumerImported"):
        found = tuple(dict.fromkeys(one.project_id for one in consumers_in(event.data)))
    elif event.name in ("DecisionMade", "DecisionCompared"):
        try:
            found = (events.thaw("Evidence", event.data.evidence).request.project_id,)
        except errors.InvalidEvent:
            return ()
    return tuple(project for project in found if project is not None)


class Named:
    """Names of hosts, with ``*``, ``?`` and ``[...]`` as in a shell; a name with such a sign matches itself too."""

    def __init__(self, patterns):
        self.patterns = tuple(patterns)
        self._matches = re.compile(
            "|".join(f"(?:{re.escape(pattern)}|{fnmatch.translate(pattern)})" for pattern in self.patterns)
        ).fullmatch

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


def _is_uuid(name):
    return len(name) == 36 and name.count("-") == 4


class Providers:
    """The providers that belong to what is wanted: the trees of the hosts in ``hosts`` (a :class:`Named`), or the
    providers in ``names`` (uuids and names).

    It learns their uuids from the events that it is given, because most writes name a provider by its uuid alone.
    """

    def __init__(self, hosts=None, names=()):
        self.hosts = hosts
        self.names = frozenset(names)
        #: Uuids of the providers.
        self.found = set()
        self._seen = set()

    @property
    def needles(self):
        """What an event about them contains one of; None if nothing is known of it."""
        names = [name.encode() for name in (*self.names, *self.found)]
        if self.hosts is None:
            return names
        return None if self.hosts.needles is None else [*self.hosts.needles, *names]

    @property
    def lessons(self):
        """The needles of events to learn from."""
        needles = self.needles
        groups = [[b"HostReported", b"ProvidersReported", b"ProviderCreated", b"ProviderChanged"]]
        return groups if needles is None else [*groups, needles]

    def learn(self, event) -> None:
        """Learn uuids from an event."""
        data = event.data
        if event.name in ("ProviderCreated", "ProviderChanged"):
            # (The children that Placement's API adds to the tree of a host.)
            if data.name in self.names or (self.hosts is not None and data.parent_uuid in self.found):
                self.found.add(data.provider_uuid)
        elif event.name in ("HostReported", "ProvidersReported"):
            if self.hosts is None or data.host in self.hosts:
                self._learn_tree(data.inventory if event.name == "HostReported" else data.providers, event.name)

    def _learn_tree(self, packed, name):
        if packed in self._seen:
            return
        self._seen.add(packed)
        try:
            content = events.thaw("HostInventory" if name == "HostReported" else "ReportedProviders", packed)
        except errors.InvalidEvent:
            return
        if self.hosts is not None:
            self.found.update(provider.uuid for provider in content.providers)
            self.found.update({getattr(content, "root_uuid", None)} - {None})
        else:
            self.found.update(provider.uuid for provider in content.providers if provider.name in self.names)

    def leads_to(self, event, of: Subjects) -> bool:
        """Return whether an event is about one of the providers, and learn from it."""
        self.learn(event)
        return bool(
            self.names.intersection(of.providers)
            or self.found.intersection(of.providers)
            or (self.hosts is None and self.names and self._is_reported(event))
        )

    def _is_reported(self, event):
        if event.name == "HostReported":
            packed = event.data.inventory
        elif event.name == "ProvidersReported":
            packed = event.data.providers
        else:
            return False
        return any(uuid.encode() in packed for uuid in (*self.found, *filter(_is_uuid, self.names)))


class Match:
    """The condition for events.

    One value of each key must match. An event that matches one of ``excluded`` (key, value) is left out.
    ``also(cell, position, index, event)`` decides on the remaining events.
    """

    def __init__(
        self, hosts=(), instances=(), requests=(), projects=(), types=(), excluded=(), also=None, providers=()
    ):
        self.hosts = Named(hosts) if hosts else None
        self._of_hosts = Providers(hosts=self.hosts) if hosts else None
        self._of_providers = Providers(names=providers) if providers else None
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
        groups += [
            providers.needles
            for providers in (self._of_hosts, self._of_providers)
            if providers is not None and providers.needles is not None
        ]
        if self.projects:
            groups.append([project.encode() for project in self.projects])
        if self.types and SET_ASIDE not in self.types:
            groups.append([type_.encode() for type_ in self.types])
        return groups

    def events_of(self, payload: bytes, cell: str, position: int) -> list:
        """Return the wanted events of a record: [(index, Event or SetAside)]."""
        # (Before it was pinned to level 3, a log had no writes that name a provider of a host by its uuid alone.)
        self.learn(payload, also_hosts=payload[1:2] >= LEDGER)
        return [
            (index, event)
            for index, event in codec.decode_holding(payload, self.groups())
            if self.wants(event, cell) and (self.also is None or self.also(cell, position, index, event))
        ]

    @property
    def looks_back(self) -> bool:
        """Whether earlier records may say what belongs to the wanted instances, requests and providers."""
        return bool(self.trails) or self._of_providers is not None

    def learn(self, payload: bytes, also_hosts: bool = True) -> None:
        """Learn from a record what belongs to the wanted instances, requests, providers and (``also_hosts``) hosts, for
        a second pass over earlier records."""
        for providers in (self._of_hosts if also_hosts else None, self._of_providers):
            if providers is not None:
                for _, event in codec.decode_holding(payload, providers.lessons):
                    if isinstance(event, codec.Event):
                        providers.learn(event)
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
            and (
                self.hosts is None or any(host in self.hosts for host in of.hosts) or self._of_hosts.leads_to(event, of)
            )
            and (self._of_providers is None or self._of_providers.leads_to(event, of))
            and (not self.projects or bool(self.projects.intersection(projects_of(event))))
            and not self._is_unwanted(event, of)
        )

    def _is_unwanted(self, event, of):
        return (
            any(host in self._unwanted_hosts for host in of.hosts)
            or bool({*of.instances, *of.claims}.intersection(self.excluded["instance"]))
            or bool(set(of.requests).intersection(self.excluded["request"]))
            or bool(set(of.providers).intersection(self.excluded["provider"]))
            or (bool(self.excluded["project"]) and bool(set(projects_of(event)).intersection(self.excluded["project"])))
        )

    def _wants_aside(self, event):
        if (self.types and SET_ASIDE not in self.types) or SET_ASIDE in self.excluded["type"]:
            return False
        return all(any(needle in event.raw for needle in group) for group in self.groups())
