"""The schedulers of a what-if, each with its own state of the logs, and the instances that they decide for."""

from collections import Counter

from nova_sched.projection.world import World
from nova_sched.scheduler.claims import Claims
from nova_sched.selection.chain import FilterChain


class Instance:
    """An instance of the traffic, from its first decision to its end in the real logs."""

    __slots__ = (
        "attempt",
        "claim",
        "claims",
        "group",
        "real_host",
        "real_hosts",
        "recorded",
        "request_id",
        "started",
        "uuid",
    )

    def __init__(self, recorded):
        self.uuid = recorded.decision.instance_uuid
        self.request_id = recorded.decision.request_id
        self.group = None
        self.real_host = recorded.decision.hosts[0] if recorded.decision.hosts else None
        self.real_hosts = {self.real_host} - {None}
        #: The recorded decision, until a claim is accepted.
        self.recorded = recorded
        self.attempt = 0
        #: Its Claim in this world, and the Claims that it is among; None without one.
        self.claim = self.claims = None
        self.started = False

    @property
    def host(self):
        """The host that it was given in this world, or None."""
        return None if self.claim is None else self.claim.proposed.host

    def runs_at(self, host):
        """It runs, or is about to run, on a host in the real logs."""
        self.real_host = host
        self.real_hosts.add(host)


class Group:
    """A server group: its members that were decided here, and the hosts that an affinity group was anchored to in
    the real logs.

    The hosts of its members in this world are known at once, like the anchors of groups."""

    def __init__(self):
        self.members = {}
        self.real_anchors = set()

    def request_of(self, instance, request):
        """The request of a member as it would be in this world: the group is on the hosts that it has here."""
        asked = request.server_group
        real = set(self.real_anchors).union(*(member.real_hosts for member in self.members.values()))
        here = {member.host for member in self.members.values() if member.host is not None and member is not instance}
        hosts = (*(host for host in asked.hosts if host not in real), *sorted(here))
        return request._replace(server_group=asked._replace(hosts=hosts))


class Tape:
    """The records of a log of this world that not every scheduler has read, in order. ``base`` records before them are
    dropped already."""

    def __init__(self):
        self._records = []
        self.base = 0

    def append(self, position, record):
        """A record comes to a position."""
        self._records.append((position, record))

    def from_number(self, number, position):
        """The records from a number on, up to a position."""
        for place in range(number - self.base, len(self._records)):
            if self._records[place][0] > position:
                return
            yield self._records[place]

    def drop(self, number):
        """All schedulers have read the records before a number."""
        if number - self.base > 100:
            del self._records[: number - self.base]
            self.base = number


class Scheduler:
    """One scheduler of the traffic: its state is folded to the positions that it knew, with its claims in flight.

    ``whole`` says of each cell whether its log is whole, ``upcoming`` yields the recorded decisions of ``producer``.
    """

    def __init__(self, producer, whole, upcoming):
        self.producer = producer
        self.world = World.empty(whole)
        # No log of this world loses what it accepted, so none is kept.
        self.claims = Claims(whole, self.world.in_flight, Counter(), kept_max=0)
        #: Cell -> how many records were read.
        self.read = dict.fromkeys(whole, 0)
        self.chains = {}
        self._upcoming = upcoming
        self._passed = set()
        self._next = next(upcoming, None)

    def chain(self, policy):
        """The filter chain of a policy over this scheduler's world."""
        if policy.digest not in self.chains:
            self.chains[policy.digest] = FilterChain(self.world.table, policy)
        return self.chains[policy.digest]

    def has_passed(self, recorded):
        """A recorded decision is done: the state may go on to the positions that the next one knew."""
        self._passed.add(recorded.key)
        while self._next is not None and self._next.key in self._passed:
            self._passed.discard(self._next.key)
            self._next = next(self._upcoming, None)

    def may_know(self, cell, frontier):
        """The position up to which the state may be folded now."""
        if self._next is None or cell not in self._next.known:
            return frontier
        return min(frontier, self._next.known[cell].position)

    def fold(self, cell, tape, position):
        """Fold the records of a Tape up to a position. Returns (Claim, reason) of each claim that was read back."""
        projection, outcomes = self.world.projections[cell], []
        topology = self.world.table.topology_version
        for record in tape.from_number(self.read[cell], position):
            outcomes += projection.fold([record])[0]
            self.read[cell] += 1
        if self.world.table.topology_version != topology:
            self.world.in_flight.count_again()
        # All at once, before anything is decided: a folded claim must not be counted as in flight, too.
        read_back = [(self.claims.read_back(cell, outcome.claim_uuid), outcome.reason) for outcome in outcomes]
        return [(claim, reason) for claim, reason in read_back if claim is not None]
