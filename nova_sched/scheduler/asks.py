"""The requests that the scheduler works on: a record for each request and for each of its instances."""

import enum
from collections import Counter
from concurrent.futures import Future

from nova_sched.projection.claim_refusals import HOLDS_ALREADY, is_malformed
from nova_sched.scheduler.claim_life import HELD_FOR_REQUEST
from nova_sched.selection.draw import seed_of

#: A host that has refused so many claims of one instance is left out.
HOST_REFUSALS_MAX = 2
#: A request fails after so many refused claims, and so many more for each of its instances.
REFUSALS_MAX, REFUSALS_MAX_PER_INSTANCE = 20, 2


def refusals_max(instances: int) -> int:
    """Number of refused claims after which a request for so many instances fails. Claims are checked before they are
    published, so that only races are refused."""
    return REFUSALS_MAX + REFUSALS_MAX_PER_INSTANCE * instances


class RefusalKind(enum.Enum):
    """What the refusal of a claim means for its instance."""

    MALFORMED = "the claim breaks the form of claims"
    HOLDS_ALREADY = "the instance holds resources already"
    OTHER = "the host cannot take it"


def kind_of(reason) -> RefusalKind:
    """The kind of a reason that the fold gives for refusing a claim."""
    if is_malformed(reason):
        return RefusalKind.MALFORMED
    if reason == HOLDS_ALREADY:
        return RefusalKind.HOLDS_ALREADY
    return RefusalKind.OTHER


class Ask:
    """One ``select_destinations``: ``future`` gets a list of lists of Placed, one list for each instance.

    ``context`` is the RequestContext whose ids log lines carry; None for none. ``trace`` is the RequestTrace that gets
    its steps; None if it is not traced.
    """

    def __init__(self, request, instance_uuids, alternates, arrived_at, context=None, trace=None):
        self.context = context
        self.trace = trace
        self.request = request
        self.alternates = alternates
        self.arrived_at = arrived_at
        self.future = Future()
        self.over = False
        #: How many of its claims were refused.
        self.refusals = 0
        self.instances = [Instance(self, uuid, seed_of(request.request_id, uuid)) for uuid in instance_uuids]

    @property
    def caller(self) -> str | None:
        """The user of its context; None if it has none."""
        return getattr(self.context, "user_id", None)


class Instance:
    """One instance of an ask on its way from decision to accepted claim."""

    __slots__ = (
        "ask",
        "attempt",
        "cell",
        "claim",
        "decision",
        "excluded",
        "fenced",
        "placed",
        "published_at",
        "seed",
        "setbacks",
        "uuid",
        "waits",
    )

    def __init__(self, ask, uuid, seed):
        self.ask = ask
        self.uuid = uuid
        self.seed = seed
        self.attempt = 0
        self.decision = None
        #: The Claim that the instance depends on, or None; and when it was published.
        self.claim = None
        self.published_at = 0.0
        self.cell = None
        #: Number of the anchor of its group that is known to be fenced off.
        self.fenced = 0
        #: The Placed of the decision, as they were when it was made: until the answer, rows of the table may pass to
        #: other hosts.
        self.placed = ()
        #: How often it waited for an event of its group.
        self.waits = 0
        self.setbacks = Setbacks()
        #: Hosts that have refused claims, or break the policy of the group in a way that filters cannot see.
        self.excluded = ()

    @property
    def accepted(self) -> bool:
        """Whether the log has accepted its claim, and is not known to have lost it."""
        return self.claim is not None and self.claim.state in HELD_FOR_REQUEST


class Setbacks:
    """The failures of the earlier claims of an instance."""

    __slots__ = ("holds_already", "lost", "refusals")

    def __init__(self):
        #: How often a claim was refused because the instance holds resources already. The first time, an earlier claim
        #: of this scheduler may be the reason, whose release comes between the two in the log.
        self.holds_already = 0
        #: How often the log passed a claim without accepting or refusing it.
        self.lost = 0
        #: Host -> how often a claim on it was refused.
        self.refusals = Counter()

    def add(self, kind: RefusalKind, host) -> bool:
        """Note a refused claim. Returns whether its host must be left out from now on. If the instance itself is the
        reason, its host is not."""
        if kind is RefusalKind.HOLDS_ALREADY:
            self.holds_already += 1
            return False
        self.refusals[host] += 1
        return self.refusals[host] == HOST_REFUSALS_MAX
