"""The requests that the scheduler works on: a record for each request and for each of its instances."""

import enum
from collections import Counter
from concurrent.futures import Future

from nova_sched.projection.claim_refusals import HOLDS_ALREADY, is_breach, is_malformed
from nova_sched.scheduler.claim_life import HELD_FOR_REQUEST
from nova_sched.selection.draw import seed_of

#: Number of claims of one instance that one host may refuse because of its group, before the host is left out.
MAX_BREACHES = 5


class RefusalKind(enum.Enum):
    """What the refusal of a claim means for its instance."""

    MALFORMED = "the claim breaks the form of claims"
    HOLDS_ALREADY = "the instance holds resources already"
    BREACH = "the claim would break the rule of its group"
    OTHER = "the host cannot take it"


def kind_of(reason) -> RefusalKind:
    """The kind of a reason that the fold gives for refusing a claim."""
    if is_malformed(reason):
        return RefusalKind.MALFORMED
    if reason == HOLDS_ALREADY:
        return RefusalKind.HOLDS_ALREADY
    return RefusalKind.BREACH if is_breach(reason) else RefusalKind.OTHER


class Ask:
    """One ``select_destinations``: ``future`` gets a list of lists of Placed, one list for each instance.

    ``context`` is the RequestContext whose ids log lines carry; None for none.
    """

    def __init__(self, request, instance_uuids, alternates, arrived_at, context=None):
        self.context = context
        self.request = request
        self.alternates = alternates
        self.arrived_at = arrived_at
        self.future = Future()
        self.over = False
        self.instances = [Instance(self, uuid, seed_of(request.request_id, uuid)) for uuid in instance_uuids]


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
        #: The Claim that the instance depends on, or None.
        self.claim = None
        self.cell = None
        #: Number of the anchor of its group that is known to be fenced off.
        self.fenced = 0
        #: The Placed of the decision, as they were when it was made: until the answer, rows of the table may pass to
        #: other hosts.
        self.placed = ()
        #: How often it waited for an event of its group.
        self.waits = 0
        self.setbacks = Setbacks()
        #: Hosts that break the policy of the group in a way that filters cannot see.
        self.excluded = ()

    @property
    def accepted(self) -> bool:
        """Whether the log has accepted its claim, and is not known to have lost it."""
        return self.claim is not None and self.claim.state in HELD_FOR_REQUEST


class Setbacks:
    """The failures of the earlier claims of an instance."""

    __slots__ = ("breaches", "holds_already", "lost")

    def __init__(self):
        #: How often a claim was refused because the instance holds resources already. The first time, an earlier claim
        #: of this scheduler may be the reason, whose release comes between the two in the log.
        self.holds_already = 0
        #: How often the log passed a claim without accepting or refusing it.
        self.lost = 0
        #: Host -> how often a claim on it was refused because of the group.
        self.breaches = Counter()

    def add(self, kind: RefusalKind, host) -> bool:
        """Note a refused claim. Returns whether its host must be left out from now on, because claims on it break the
        group's policy again and again. That happens if the log knows members there under other names than the filters,
        or if the request skips the filters by force."""
        self.holds_already += kind is RefusalKind.HOLDS_ALREADY
        if kind is not RefusalKind.BREACH:
            return False
        self.breaches[host] += 1
        return self.breaches[host] == MAX_BREACHES
