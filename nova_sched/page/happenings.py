"""The last decisions and refusals, in the order in which they were read, each with a number."""

import threading
from collections import OrderedDict, deque

import msgpack

from nova_sched.replay.logs.moments import stamp
from rpc_api import events
from rpc_api.events.claim import is_without_build

CHOSEN, NO_HOST, REFUSED, CLAIM_REFUSED = "chosen", "no host", "request refused", "claim refused"
BUILD_FAILED, EXPIRED, WRITE_REFUSED, HOST = "build failed", "claim expired", "write refused", "host"
#: What a project is shown of a decision or refusal: without hosts, counts and reasons, as Nova's API does.
OF_PROJECT = {
    CHOSEN: "a host was chosen",
    NO_HOST: "no valid host was found",
    CLAIM_REFUSED: "another host is looked for",
    BUILD_FAILED: "the build failed on a host",
    EXPIRED: "the claim was not built in time",
}
#: Events about a host -> what they mean.
OF_HOSTS = {
    "HostLost": "lost: unreachable",
    "HostSeen": "reachable again",
    "HostDisabled": "disabled by an operator",
    "HostEnabled": "enabled by an operator",
    "HostRemoved": "removed",
}
#: Instances of which the project is known at most.
PROJECTS = 100_000
_REQUEST = events.Evidence._fields.index("request")
_PROJECT = events.SchedulingRequest._fields.index("project_id")


class Happening:
    """Something that happened: ``kind`` is one of the constants of this module, ``reason`` is that of a refused claim
    or write. What is shown is computed when it is first asked for."""

    __slots__ = ("_facts", "at_ns", "cell", "event", "kind", "number", "position", "project", "reason")

    def __init__(self, kind, cell, position, event, reason=None, project=None):
        self.kind = kind
        self.cell, self.position, self.at_ns = cell, position, event.at_ns
        self.event, self.reason, self.project = event, reason, project
        self.number = 0
        self._facts = None

    def of_project(self) -> str | None:
        """The project that it concerns; None if it is not known."""
        if self.project is None and self.event.name == "DecisionMade":
            self.project = project_in(self.event.data.evidence)
        return self.project

    def facts(self) -> dict:
        """Everything, for those who see all projects."""
        if self._facts is None:
            data = self.event.data
            self._facts = {
                "number": self.number,
                "kind": self.kind,
                "time": stamp(self.at_ns),
                "at_ns": str(self.at_ns),
                "cell": self.cell,
                "position": self.position,
                "by": self.event.producer,
                "instance": self._instance(data),
                "request": getattr(data, "request_id", None),
                "host": self._host(data),
                "text": self._text(data),
                "project": self.of_project(),
            }
        return self._facts

    def facts_of_project(self) -> dict:
        """What its project may see: no host, no cell, no count and no reason."""
        whole = self.facts()
        return {
            **{name: whole[name] for name in ("number", "kind", "time", "at_ns", "instance", "request", "project")},
            "text": OF_PROJECT[self.kind],
        }

    def _instance(self, data):
        if self.kind in (EXPIRED, WRITE_REFUSED):
            return getattr(data, "consumer_uuid", None)
        return getattr(data, "instance_uuid", None) or next(iter(getattr(data, "instances", ())), None)

    def _host(self, data):
        if self.event.name == "DecisionMade":
            return data.hosts[0] if data.hosts else None
        return getattr(data, "host", None)

    def _text(self, data):
        if self.kind == HOST:
            more = getattr(data, "reason", "")
            return OF_HOSTS[self.event.name] + (f": {more}" if more else "")
        return str(self.reason if self.reason is not None else getattr(data, "reason", "") or self.kind)


def project_in(evidence: bytes) -> str | None:
    """Return the project of the request in packed Evidence; None if it has none, or cannot be read."""
    try:
        found = msgpack.unpackb(evidence, use_list=False)[_REQUEST][_PROJECT]
    except (ValueError, TypeError, LookupError, msgpack.exceptions.UnpackException):
        return None
    return found if type(found) is str else None


class Happenings:
    """The last ``most`` happenings. One thread adds; others read and wait."""

    def __init__(self, most: int):
        self._kept = deque(maxlen=most)
        self._number = 0
        self._projects = OrderedDict()
        self._changed = threading.Condition()
        self._rounds = 0
        self._is_closed = False

    def add(self, cell: str, position: int, record, outcomes, writes) -> None:
        """Look through a folded record; ``outcomes`` are those of its claims, ``writes`` those of its API writes."""
        refused = {outcome.claim_uuid: outcome.reason for outcome in outcomes if outcome.reason is not None}
        unwritten = {written[1:4]: written.reason for written in writes if written.reason is not None}
        for event in record.events:
            found = self._of(cell, position, event, refused, unwritten)
            if found is not None:
                with self._changed:
                    self._number += 1
                    found.number = self._number
                    self._kept.append(found)

    def _of(self, cell, position, event, refused, unwritten):
        name, data = getattr(event, "name", None), getattr(event, "data", None)
        if name == "DecisionMade":
            return Happening(CHOSEN if data.outcome == "selected" else NO_HOST, cell, position, event)
        if name == "RequestRefused":
            return Happening(REFUSED, cell, position, event)
        if name == "ClaimProposed":
            self._learn(data.instance_uuid, data.project_id)
            if data.claim_uuid in refused:
                return Happening(CLAIM_REFUSED, cell, position, event, refused[data.claim_uuid], data.project_id)
        elif name == "BuildFailed" and not is_without_build(data.reason):
            return Happening(BUILD_FAILED, cell, position, event, data.reason, self._projects.get(data.instance_uuid))
        elif name == "ClaimExpired":
            return Happening(EXPIRED, cell, position, event, None, self._projects.get(data.consumer_uuid))
        elif name in OF_HOSTS:
            return Happening(HOST, cell, position, event)
        elif unwritten and name is not None:
            reason = unwritten.get((event.producer, event.producer_epoch, event.sequence))
            if reason is not None:
                return Happening(WRITE_REFUSED, cell, position, event, getattr(reason, "reason", reason))
        return None

    def _learn(self, instance, project):
        if project is not None:
            self._projects[instance] = project
            self._projects.move_to_end(instance)
            if len(self._projects) > PROJECTS:
                self._projects.popitem(last=False)

    def clear(self) -> None:
        """Forget all: the logs are read again. Numbers go on."""
        with self._changed:
            self._kept.clear()

    def published(self) -> None:
        """Wake those who wait: something changed."""
        with self._changed:
            self._rounds += 1
            self._changed.notify_all()

    @property
    def last(self) -> int:
        """The number of the last happening."""
        return self._number

    def close(self) -> None:
        """Nothing waits any more: the page ends."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wait(self, after: int, rounds: int, timeout: float) -> int:
        """Wait until there is a happening after a number, or something was published since ``rounds`` (a former
        answer), for some seconds at most. Return the present number of rounds."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._rounds != rounds or self._number > after, timeout)
            return self._rounds

    @property
    def rounds(self) -> int:
        """How often something was published."""
        return self._rounds

    def after(self, number: int, most: int, project: str | None, until_ns: int | None = None):
        """Return (the last ``most`` happenings after a number and up to a time, as plain values, whether some between
        are not there any more). With a ``project``, only what concerns it."""
        with self._changed:
            kept = list(self._kept)
        skipped = bool(kept) and 0 < number < kept[0].number - 1
        found = []
        for happening in reversed(kept):
            if happening.number <= number:
                break
            if until_ns is not None and happening.at_ns > until_ns:
                continue
            if project is None:
                found.append(happening.facts())
            elif happening.kind in OF_PROJECT and happening.of_project() == project:
                found.append(happening.facts_of_project())
            if len(found) > most:
                break
        return found[most - 1 :: -1] if len(found) <= most else found[:most][::-1], skipped or len(found) > most
