"""What operators do with a host: disable, enable, see what is left there, remove it.

Who is asked follows from the authority over the host: events in our log for a host of an agent, Nova's API for a host
of Nova. Our log alone never changes a host of Nova.
"""

from typing import NamedTuple

from nova_sched.operate.publish import check_level, published
from nova_sched.projection.host_status import is_disabled
from nova_sched.projection.ledger import AGENT, NOVA
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.state.hosts import amounts_of, status_of
from rpc_api import errors, events
from rpc_api.wording import number_of

#: Status of a consumer that is no server of Nova: a migration that is under way, or what nobody gave up.
NO_SERVER = "no server"
#: Nova's status of a server that failed, of which no task is under way.
FAILED = "ERROR"


class Left(NamedTuple):
    """A consumer that still holds resources of a host. ``status`` is Nova's for a host of Nova, or NO_SERVER."""

    instance: str
    consumer: str
    state: str
    project: str | None
    resources: dict
    name: str | None
    status: str | None


class OperatedHost:
    """A host that an operator works on: its ``cell``, ``log``, and the ``state`` of that log; ``host`` is read from the
    state. ``nova()`` gives the :class:`~nova_sched.clients.nova.NovaApi`, when it is needed."""

    def __init__(self, name: str, cell: str, log, state, nova, operator: str):
        self.name = name
        self.cell = cell
        self.log = log
        self.state = state
        self._nova = nova
        self._operator = operator

    @property
    def host(self):
        """The Host, None when it was removed."""
        return self.state.hosts.get(self.name)

    @property
    def authority(self) -> str:
        """Who decides about the host: its agent, or nova."""
        return self.host.authority

    def follow(self) -> None:
        """Fold what was appended meanwhile."""
        for position, record in decoded_records(self.log, self.state.position + 1):
            self.state.fold([(position, record)])

    # --- disable, enable ---------------------------------------------------------------------------------------------

    def disable(self, reason: str) -> str:
        """Give no more instances to the host. Return what was done, in words."""
        if self.authority == NOVA:
            service = self._service()
            if service.disabled and reason in ("", service.disabled_reason):
                return f"{self.name} of {self.cell} is disabled in Nova already"
            self._nova().disable(service, reason)
            return self._of_nova("disabled")
        check_level(self.state, "to disable a host")
        if self.host.disabled_for is not None and reason in ("", self.host.disabled_for):
            return f"{self.name} of {self.cell} is disabled already"
        position = published(self.log, self.state, self._operator, events.HostDisabled(self.name, reason))
        return f"{self.name} of {self.cell} is disabled from position {position} on"

    def enable(self) -> str:
        """Give instances to the host again. Return what was done, in words."""
        if self.authority == NOVA:
            self._nova().enable(self._service())
            return self._of_nova("enabled")
        check_level(self.state, "to enable a host")
        if self.host.disabled_for is None:
            why = status_of(self.host, self.state.table)[1]
            if not why:
                return f"{self.name} of {self.cell} is enabled already"
            raise errors.NovaSchedError(
                f"{self.name} of {self.cell} is not disabled by an operator, it is {why}; check its agent"
            )
        position = published(self.log, self.state, self._operator, events.HostEnabled(self.name))
        why = status_of(self.host, self.state.table)[1]
        left = f"; it still takes none: {why}" if why else ""
        return f"{self.name} of {self.cell} is enabled from position {position} on{left}"

    def _of_nova(self, what):
        return (
            f"{self.name} of {self.cell} is {what} in Nova; a nova-compute that runs writes this to the log at once, "
            "through Placement's API"
        )

    def _service(self):
        service = self._nova().service(self.name)
        if service is None:
            raise errors.NovaSchedError(
                f"{self.name} of {self.cell} is a host of Nova, and Nova has no nova-compute of that name; compare the "
                "region and cloud of the credentials with the log, or remove the host with nova-sched host remove"
            )
        return service

    # --- what is left ------------------------------------------------------------------------------------------------

    def left(self) -> list[Left]:
        """What still holds resources of the host, the longest first. For a host of Nova also the servers that Nova
        lists there, and the status of all."""
        host = self.host
        if host is None:
            return []
        entries = sorted(host.entries.values(), key=lambda entry: (entry.position, entry.consumer_uuid))
        if host.authority != NOVA:
            return [_left_of(entry, None, None) for entry in entries]
        servers = {server.uuid: server for server in self._nova().servers(self.name)}
        found = []
        for entry in entries:
            server = servers.pop(entry.instance_uuid, None)
            # A server that is resized or moved is on its new host by now.
            server = server or self._nova().server(entry.instance_uuid)
            found.append(_left_of(entry, server, NO_SERVER))
        return found + [
            Left(server.uuid, server.uuid, "in Nova only", server.project, {}, server.name, _status(server))
            for server in servers.values()
        ]

    def cannot_end(self, left: list[Left]) -> str | None:
        """Why a drain of the host, on which something is ``left``, cannot come to its end by itself; None if it can."""
        host = self.host
        if host is None:
            return None
        if host.lost:
            return (
                f"{self.name} is lost: nothing ends there by itself; evacuate its instances, or remove it with "
                "nova-sched host remove"
            )
        if host.authority == AGENT:
            is_enabled = not is_disabled(host, self.state.table)
        else:
            service = self._service()
            is_enabled = not service.disabled
            if not service.is_up:
                return f"the nova-compute of {self.name} is down: nothing ends there by itself; start it, or evacuate"
        if is_enabled:
            return f"{self.name} was enabled meanwhile, and gets new instances"
        return _stuck(left)

    # --- remove ------------------------------------------------------------------------------------------------------

    def remove(self, reason: str, force: bool) -> str:
        """Remove a host that is gone. Return what was done, in words. NovaSchedError if it is not gone, or if something
        is left there; ``force`` skips both checks for a host of an agent."""
        if self.authority == NOVA:
            return self._remove_from_nova()
        check_level(self.state, "to remove a host")
        if not force:
            self._check_gone()
        position = published(self.log, self.state, self._operator, events.HostRemoved(self.name, reason))
        return f"{self.name} of {self.cell} is removed from position {position} on"

    def _check_gone(self):
        if not self.host.lost:
            raise errors.NovaSchedError(
                f"{self.name} of {self.cell} is not lost, its agent would report it again; stop the agent and wait "
                "until the host is lost, or use --force"
            )
        count = len(self.host.entries)
        if count:
            raise errors.NovaSchedError(
                f"{count} consumer{' holds' if count == 1 else 's hold'} resources of {self.name} of {self.cell} "
                f"(nova-sched host drain {self.name} shows them); evacuate or delete them, or forget them with --force"
            )

    def _remove_from_nova(self):
        service = self._nova().service(self.name)
        if service is None:
            uuid = self.state.table.uuids[self.host.root]
            raise errors.NovaSchedError(
                f"Nova has no nova-compute {self.name}, only its resource provider is left in {self.cell}; delete it "
                f"with: openstack resource provider delete {uuid}"
            )
        if service.is_up:
            raise errors.NovaSchedError(
                f"the nova-compute of {self.name} is up, and would register again; stop it first"
            )
        self._nova().delete(service)
        return (
            f"the nova-compute of {self.name} is deleted in Nova, with its resource provider; the host leaves the log "
            f"of {self.cell} with it"
        )


def _left_of(entry, server, without_server):
    return Left(
        entry.instance_uuid,
        entry.consumer_uuid,
        entry.state,
        entry.project_id,
        amounts_of(entry.allocations),
        server and server.name,
        without_server if server is None else _status(server),
    )


def _stuck(left):
    """What to do about consumers that nobody can move, if there are no others; None if there are."""
    failed = sum(each.status == FAILED for each in left)
    unknown = [each for each in left if each.status == NO_SERVER]
    if not left or failed + len(unknown) < len(left):
        return None
    found = []
    if failed:
        found.append(
            f"{number_of(failed, 'server is', 'servers are')} in {FAILED} and cannot be moved; delete it, or set its "
            "state (openstack server set --state active)"
        )
    if unknown:
        found.append(
            f"{number_of(len(unknown), 'consumer is', 'consumers are')} no server of Nova; if no move is under way, "
            f"give up what it holds (openstack resource provider allocation delete {unknown[0].consumer})"
        )
    return "; ".join(found)


def _status(server):
    return f"{server.status} ({server.task})" if server.task else server.status
