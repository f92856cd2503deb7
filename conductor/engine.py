"""The state and the decisions of the conductor of a cell. The engine has no thread, no clock and no log.

Its owner calls it from one thread at a time, and gives it a function that publishes.
"""

import contextlib

from conductor import build
from conductor.monitor import Monitor
from conductor.reaper import Reaper
from conductor.watch import Watch
from nova_sched.process.account_rule import AccountRule
from nova_sched.process.log_state import LogState, beginning_is_lost
from nova_sched.process.missing_reports import MissingReports
from nova_sched.projection import snapshot
from nova_sched.projection.beginning import projection_of
from nova_sched.projection.claim_checks import refusal_ahead
from nova_sched.projection.ledger import CLAIMED, NOVA
from nova_sched.projection.projection import AGENT, Projection
from rpc_api import errors, events
from rpc_api.codec import Event

#: Claims of deleted instances that are remembered.
DELETED_KEPT = 1000
#: Seconds after which an agent that still publishes in the forms of another level gets the log's level again.
TELL_AGAIN = 60.0
#: Seconds between two rebases of one log by the same conductor.
NEVER_AGAIN = float("inf")


class BuildState:
    """A build that goes on: ``deleted`` is set when its instance is deleted meanwhile."""

    def __init__(self, instance_uuid, deleted):
        self.instance_uuid = instance_uuid
        self.deleted = deleted


class CellEngine:
    """``publish(*data)`` appends frozen records of the producer ``name`` to the cell's log; times are in seconds.
    ``require_accounts`` is what is configured for the log (see AccountRule)."""

    def __init__(
        self, cell: str, name: str, publish, service_down_time: float, claim_ttl: float, require_accounts=None
    ):
        self.cell = cell
        self.name = name
        self.publish = publish
        self.projection = Projection(cell)
        self.log_state = LogState()
        self.log_state.expect()
        self.monitor = Monitor(service_down_time)
        #: What makes claims expire: by the log from level 2 on, and by this process's memory before.
        self.watch, self.reaper = Watch(claim_ttl), Reaper(claim_ttl)
        self.account_rule = AccountRule(require_accounts)
        #: Hosts that must report because the log lost records, or may have lost some before this process read it.
        self.missing_reports = MissingReports()
        self._wants_reports = True
        #: Host -> name of the server of its agent, of hosts that were known before the log lost records: they must
        #: report at once.
        self._known_before = None
        #: Uuids of the claims that are being built.
        self.building = set()
        #: Claim uuid -> function that is called with its outcome (None, or the Reason why it was refused) when it was
        #: folded.
        self.settled = {}
        #: (position, function): called when the log is folded to the position.
        self.waiting = []
        #: Servers of agents that publish in the forms of another level than the log's, and must be told its level.
        self._other_level = set()
        #: Server of an agent -> ((epoch, level) that was sent to it, when).
        self._told = {}
        self._builds = set()
        #: Uuids of claims whose instances were deleted, oldest first (a dictionary for its order):
        #: their release may not be folded yet when the build begins.
        self._deleted = {}

    def on_begin(self, beginning) -> None:
        """The log is read from its beginning or a snapshot (a Beginning); the earlier state is dropped.

        Raises a NovaSchedError for a snapshot that cannot be used.
        """
        if beginning.begun_anew:
            self._wants_reports, self._known_before = False, None
            self.missing_reports.forget()
        elif beginning.kept is not None:
            self._wants_reports = True
            self._known_before = {
                **(self._known_before or {}),
                **{name: host.server for name, host in self.projection.hosts.items()},
            }
            self.missing_reports.count_after(beginning.kept)
        elif self._wants_reports and self._known_before is None:
            self.missing_reports.count_after(beginning.catch_up)
        self.log_state.expect()
        self.watch.rest()
        self._other_level.clear()
        self.projection = Projection(self.cell, whole=False)
        self.projection = projection_of(self.cell, beginning, accounts_required=bool(self.account_rule.wanted))
        self.log_state.begin(beginning)
        self.log_state.folded(self.projection)
        self.account_rule.begin()

    @property
    def beginning_is_lost(self) -> errors.LogGap | None:
        """Why the log stays closed until a checkpoint or a snapshot fits it: it is headless, and at a level at which no
        service may rebase it. Else None."""
        if not (self.log_state.is_headless and self.projection.rules.one_ledger):
            return None
        return beginning_is_lost(self.cell, self.log_state.first)

    @property
    def is_current(self) -> bool:
        """Whether all records are folded that the log had when reading started."""
        return not self.log_state.is_behind

    def packed_state(self) -> bytes | None:
        """The state as bytes of a snapshot; None while it is not known."""
        return snapshot.dump(self.projection) if self.is_current and not self.projection.is_too_new else None

    def on_records(self, records, now: float) -> dict:
        """Fold records of the log at ``now`` (monotonic). Returns the hosts whose agents must report in full, and the
        servers of these agents."""
        level, watched_ms = self.projection.level, self.projection.watched_ms
        outcomes, noted = self.projection.fold(records)
        if self.projection.watched_ms != watched_ms:
            self.watch.folded(now)
        self.log_state.folded(self.projection)
        self._look_for_other_level(level, records)
        self.missing_reports.see(records)
        for outcome in outcomes:
            # A claim of another producer may have the uuid of ours.
            settle = self.settled.pop(outcome.claim_uuid, None) if outcome.producer == self.name else None
            if settle is not None:
                settle(outcome.reason)
        for waiting in [waiting for waiting in self.waiting if waiting[0] <= self.projection.position]:
            self.waiting.remove(waiting)
            waiting[1]()
        if any(note.kind == "rebased" for note in noted):
            self.account_rule.begin()
            self.watch.rest()
        return {note.host: self.server_of(note.host) for note in noted if note.resync and note.host}

    def _look_for_other_level(self, before, records):
        """Note the agents that do not know the level of the log: after a pin all of them, later those whose records
        have another level."""
        level, hosts = self.projection.level, self.projection.hosts
        if level != before:
            self._other_level.update(host.server for host in hosts.values() if host.server)
            return
        for _, record in records:
            if record.level != level:
                names = {event.producer.partition("/") for event in record.events if isinstance(event, Event)}
                self._other_level.update(
                    hosts[name].server for role, _, name in names if role == AGENT and name in hosts
                )

    def agents_to_tell(self, now: float) -> list:
        """Servers of the agents that must be told the level of the log now, each at most once in TELL_AGAIN."""
        if not self.is_current:
            return []
        log, servers = (self.projection.epoch, self.projection.level), sorted(self._other_level)
        self._other_level.clear()
        due = [
            server
            for server in servers
            if self._told.get(server, (None, 0.0))[0] != log or now - self._told[server][1] >= TELL_AGAIN
        ]
        self._told.update((server, (log, now)) for server in due)
        return due

    def hosts_to_ask(self) -> dict:
        """Hosts whose agents must report in full at once because their log lost records, and the servers of these
        agents. They are called when the log is folded to its end. A process that just started does not know whether the
        log lost records before; then agents are asked for a report when they beat."""
        if not self.is_current or not self._wants_reports:
            return {}
        # Also hosts that the log lost: their reports are lost for certain.
        known = {**(self._known_before or {}), **{name: host.server for name, host in self.projection.hosts.items()}}
        at_once, self._wants_reports, self._known_before = self._known_before is not None, False, None
        self.missing_reports.want(known)
        return {host: known[host] for host in sorted(self.missing_reports.hosts)} if at_once else {}

    def server_of(self, host: str) -> str | None:
        """The server of a host's agent, by its last report; None for a host that is not known."""
        known = self.projection.hosts.get(host)
        return known.server if known else None

    def holds(self, claim) -> bool:
        """Whether a claim (a ClaimProposed) that was accepted still holds, or runs already."""
        return any(
            entry.claim_uuid == claim.claim_uuid for entry in self.projection.consumers.get(claim.consumer_uuid, ())
        )

    def refusal_of(self, claim):
        """The Reason why the log would refuse a claim (a ClaimProposed) that is not published yet; None if it would
        accept it."""
        return refusal_ahead(self.projection, claim)

    @contextlib.contextmanager
    def build_of(self, request):
        """A BuildState while the build (a BuildRequest) goes on."""
        state = BuildState(request.instance_uuid, any(claim.claim_uuid in self._deleted for claim in request.claims))
        self._builds.add(state)
        try:
            yield state
        finally:
            self._builds.discard(state)

    def delete(self, instance_uuid: str) -> list:
        """An instance is deleted: end its builds and release its claims. Returns the uuids of the claims, under which
        the instance must not start any more."""
        for state in self._builds:
            if state.instance_uuid == instance_uuid:
                state.deleted = True
        claims = [entry for entry in self.projection.consumers.get(instance_uuid, ()) if entry.state is CLAIMED]
        self._deleted.update((entry.claim_uuid, True) for entry in claims)
        while len(self._deleted) > DELETED_KEPT:
            del self._deleted[next(iter(self._deleted))]
        idle = [entry for entry in claims if entry.claim_uuid not in self.building]
        if idle:
            self.publish(
                *(
                    events.ClaimReleased(entry.consumer_uuid, entry.claim_uuid, "the instance was deleted")
                    for entry in idle
                )
            )
        return [entry.claim_uuid for entry in claims]

    def build(self, request):
        """The steps of building an instance (a BuildRequest): see :mod:`conductor.build`."""
        return build.steps(self, request)

    def on_beat(self, server: str, hosts, epoch: str, now: float) -> list:
        """Hosts of the agent that answers at ``server`` are alive at ``now`` (monotonic), and report in the log's
        incarnation ``epoch``. Returns those that must report in full: the log does not know them, may have lost their
        reports, or use another incarnation."""
        self.monitor.heard(hosts, now)
        if not self.is_current:
            return []
        if any(host not in self.projection.hosts for host in hosts):
            # Its reports may be in the forms of a level that this log does not have.
            self._other_level.add(server)
        missing = self.missing_reports.hosts
        return [
            host
            for host in hosts
            if epoch != self.projection.epoch or host not in self.projection.hosts or host in missing
        ]

    def on_tick(self, now: float, readable: bool = True, appendable: bool = True) -> None:
        """Publish which hosts are lost or seen again, and which claims were not built in time; rebase a headless log.
        While the log is not ``readable``, beats may not come either, so nothing is published about hosts. Claims grow
        older only while the log can be read and appended to."""
        is_usable = self.is_current and readable and appendable and not self.projection.is_too_new
        watches = is_usable and self.projection.rules.claims_have_an_age
        if not watches:
            self.watch.rest()
        if self.projection.is_too_new:
            return
        if self.log_state.is_rebase_due(now, 0.0, NEVER_AGAIN) and self.beginning_is_lost is None:
            self.publish(events.LogRebased(self.cell, self.log_state.first, bool(self.account_rule.wanted)))
            self.log_state.rebase_asked(now)
        if not self.is_current:
            return
        rule = self.account_rule.due(self.projection)
        due = [
            *rule,
            *(self.monitor.changes(self._hosts_of_agents(), now) if readable else ()),
            *self._claims_due(now, watches),
        ]
        if due:
            self.publish(*due)
        if rule:
            self.account_rule.said()

    def _hosts_of_agents(self):
        """Hosts whose agents beat. Those of Nova have no agent; a tap publishes whether they are lost."""
        return {name: host for name, host in self.projection.hosts.items() if host.authority != NOVA}

    def _claims_due(self, now, watches):
        if not self.projection.rules.claims_have_an_age:
            return self.reaper.expired(self.projection.consumers, self.building, now)
        return self.watch.due(self.projection, self.building, now) if watches else ()

    def on_end(self, now: float) -> None:
        """The process ends: publish the time for which it watched claims since it last did so."""
        if self.is_current and self.watch.is_watching:
            due = self.watch.due(self.projection, self.building, now, ends=True)
            if due:
                self.publish(*due)
