"""The life of a claim: its states, what may happen to it, and what the scheduler then does.

Everything that changes the state of a claim is in this file. ``TRANSITIONS`` has one cell for each event that may
happen in a state: the next state, and the action. The table is pure. claims.py keeps the claims, claim_driver.py
reports the events, and claim_actions.py does the actions. docs/reference/claim-life.md is written from this table.
"""

import enum
from typing import NamedTuple

from rpc_api import errors


class State(enum.Enum):
    """A state of a claim; the value describes it."""

    PROPOSED = "published; its instance waits for it"
    UNWANTED = "published; its request has failed meanwhile"
    ABANDONED = "published; its instance is decided again without waiting for it"
    ACCEPTED = "the log accepted it; its request is not answered yet"
    DOUBTFUL = "accepted, its request is not answered, and the log has perhaps lost it with its last records"
    ANSWERED = "the request was answered with it"
    ANSWERED_DOUBTFUL = "answered, and the log has perhaps lost it with its last records"
    RECLAIMED = "answered, lost by the log, and published again as it was"
    RELEASED = "end: a ClaimReleased is published for it"
    REFUSED = "end: the log refused it"
    LOST = "end: the log has passed it without accepting or refusing it"
    FORGOTTEN = "end: the log was recreated or rebased, or lost its last records, and does not hold it"


class Event(enum.Enum):
    """What may happen to a claim; the value describes it."""

    ACCEPTED = "it is read back, and the log accepted it"
    BREAKS_GROUP = "the log accepted it, and it breaks the policy of its group, which the log knows by another name"
    REFUSED = "it is read back, and the log refused it"
    PASSED = "a later event of this scheduler is read back, and the log does not hold the claim"
    CELL_DOWN = "the log of its cell cannot be read or appended to for too long"
    RECREATED = "the log of its cell was recreated"
    REBASED = "the log of its cell was rebased, before or after this claim"
    REBASE_READ_AGAIN = "the log of its cell is read again, and was rebased, before or after this claim"
    READ_BEFORE_REBASE = "it is read back together with a rebase that comes after it in the log"
    REQUEST_FAILED = "its request is answered with an error"
    REQUEST_ANSWERED = "its request is answered with it"
    NOT_DELIVERED = "the answer with it was not delivered, because the caller is gone"
    TAIL_LOST = "the log lost its last records, and this claim was among them"
    FOUND = "the log was read again, and holds it"
    MISSING = "the log was read again, and does not hold it"


class Action(enum.Enum):
    """What the scheduler does when a claim changes its state; the value describes it."""

    NOTHING = "nothing"
    ANSWER = "answer the request, if all its claims are accepted"
    DECIDE = "decide again"
    DECIDE_AFTER_REFUSAL = "decide again, or fail the request if another attempt cannot help"
    DECIDE_AFTER_LOSS = "decide again the first time, then fail the request"
    COUNT_REFUSAL = "count the refusal"
    COUNT_LOSS = "count the loss"
    RELEASE = "release it, because the request was refused as a whole"
    RELEASE_AND_DECIDE_ELSEWHERE = "release it, and decide again without its host"
    GIVE_UP = "release it, because it was given up"
    RELEASE_UNDELIVERED = "release it, because its caller is gone"
    RELEASE_AFTER_REBASE = "release it after the rebase"
    DECIDE_AND_RELEASE_AFTER_REBASE = "decide again, and release it after the rebase"
    CLAIM_AGAIN = "publish it again as it was"
    REPORT = "warn: the answered claim cannot be made again"


class Step(NamedTuple):
    """A cell of the table."""

    state: State
    action: Action


class Impossible(NamedTuple):
    """Events that cannot happen in some states, and why."""

    states: tuple
    events: tuple
    reason: str


class ImpossibleEvent(errors.NovaSchedError):
    """An event was reported of a claim in a state in which it cannot happen: a fault of the scheduler."""


#: A claim starts here.
START = State.PROPOSED
#: Published and not read back. A claim is under way in no other state, except for RECLAIMED, which is kept as well.
UNDER_WAY = (State.PROPOSED, State.UNWANTED, State.ABANDONED)
#: In these states the instance depends on the claim. In all others they do not refer to each other any more.
WAITED_FOR = (State.PROPOSED, State.ACCEPTED, State.DOUBTFUL)
#: Accepted, as far as the scheduler knows, while the request is open.
HELD_FOR_REQUEST = (State.ACCEPTED, State.DOUBTFUL)
#: Its request was answered with it.
ANSWERED = (State.ANSWERED, State.ANSWERED_DOUBTFUL, State.RECLAIMED)
#: The log may lose these, so they are kept for a while.
KEPT = (State.ACCEPTED, State.DOUBTFUL, State.ANSWERED, State.ANSWERED_DOUBTFUL, State.RECLAIMED)
#: The scheduler looks for these when the log is read again.
IN_DOUBT = (State.DOUBTFUL, State.ANSWERED_DOUBTFUL)
#: Nothing happens to a claim any more.
ENDS = (State.RELEASED, State.REFUSED, State.LOST, State.FORGOTTEN)

TRANSITIONS = {
    (State.PROPOSED, Event.ACCEPTED): Step(State.ACCEPTED, Action.ANSWER),
    (State.PROPOSED, Event.BREAKS_GROUP): Step(State.RELEASED, Action.RELEASE_AND_DECIDE_ELSEWHERE),
    (State.PROPOSED, Event.REFUSED): Step(State.REFUSED, Action.DECIDE_AFTER_REFUSAL),
    (State.PROPOSED, Event.PASSED): Step(State.LOST, Action.DECIDE_AFTER_LOSS),
    (State.PROPOSED, Event.CELL_DOWN): Step(State.ABANDONED, Action.DECIDE),
    # Events that wait to be appended go to the new log, so the claim may still be accepted there.
    (State.PROPOSED, Event.RECREATED): Step(State.ABANDONED, Action.DECIDE),
    (State.PROPOSED, Event.REBASED): Step(State.ABANDONED, Action.DECIDE_AND_RELEASE_AFTER_REBASE),
    (State.PROPOSED, Event.READ_BEFORE_REBASE): Step(State.FORGOTTEN, Action.DECIDE),
    (State.PROPOSED, Event.REQUEST_FAILED): Step(State.UNWANTED, Action.NOTHING),
    (State.UNWANTED, Event.ACCEPTED): Step(State.RELEASED, Action.RELEASE),
    (State.UNWANTED, Event.REFUSED): Step(State.REFUSED, Action.COUNT_REFUSAL),
    (State.UNWANTED, Event.PASSED): Step(State.LOST, Action.COUNT_LOSS),
    (State.UNWANTED, Event.CELL_DOWN): Step(State.ABANDONED, Action.NOTHING),
    (State.UNWANTED, Event.RECREATED): Step(State.ABANDONED, Action.NOTHING),
    (State.UNWANTED, Event.REBASED): Step(State.ABANDONED, Action.RELEASE_AFTER_REBASE),
    (State.UNWANTED, Event.READ_BEFORE_REBASE): Step(State.FORGOTTEN, Action.NOTHING),
    (State.ABANDONED, Event.ACCEPTED): Step(State.RELEASED, Action.GIVE_UP),
    (State.ABANDONED, Event.REFUSED): Step(State.REFUSED, Action.NOTHING),
    (State.ABANDONED, Event.PASSED): Step(State.LOST, Action.NOTHING),
    (State.ABANDONED, Event.CELL_DOWN): Step(State.ABANDONED, Action.NOTHING),
    (State.ABANDONED, Event.RECREATED): Step(State.ABANDONED, Action.NOTHING),
    (State.ABANDONED, Event.REBASED): Step(State.ABANDONED, Action.RELEASE_AFTER_REBASE),
    (State.ABANDONED, Event.READ_BEFORE_REBASE): Step(State.FORGOTTEN, Action.NOTHING),
    # A log that is read again brings the same claims again.
    (State.ACCEPTED, Event.ACCEPTED): Step(State.ACCEPTED, Action.NOTHING),
    # A copy of it under another sequence: the log holds the first one.
    (State.ACCEPTED, Event.REFUSED): Step(State.ACCEPTED, Action.NOTHING),
    (State.ACCEPTED, Event.RECREATED): Step(State.FORGOTTEN, Action.DECIDE),
    (State.ACCEPTED, Event.REBASED): Step(State.FORGOTTEN, Action.DECIDE),
    # The log may hold it: that is known when the log is folded.
    (State.ACCEPTED, Event.REBASE_READ_AGAIN): Step(State.DOUBTFUL, Action.NOTHING),
    (State.ACCEPTED, Event.REQUEST_FAILED): Step(State.RELEASED, Action.RELEASE),
    (State.ACCEPTED, Event.REQUEST_ANSWERED): Step(State.ANSWERED, Action.NOTHING),
    (State.ACCEPTED, Event.TAIL_LOST): Step(State.DOUBTFUL, Action.NOTHING),
    # The producer appended it again, so the log has it again.
    (State.DOUBTFUL, Event.ACCEPTED): Step(State.ACCEPTED, Action.NOTHING),
    (State.DOUBTFUL, Event.REFUSED): Step(State.REFUSED, Action.DECIDE_AFTER_REFUSAL),
    (State.DOUBTFUL, Event.RECREATED): Step(State.FORGOTTEN, Action.DECIDE),
    (State.DOUBTFUL, Event.REBASED): Step(State.FORGOTTEN, Action.DECIDE),
    (State.DOUBTFUL, Event.REBASE_READ_AGAIN): Step(State.DOUBTFUL, Action.NOTHING),
    (State.DOUBTFUL, Event.READ_BEFORE_REBASE): Step(State.DOUBTFUL, Action.NOTHING),
    (State.DOUBTFUL, Event.REQUEST_FAILED): Step(State.RELEASED, Action.RELEASE),
    (State.DOUBTFUL, Event.REQUEST_ANSWERED): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
    (State.DOUBTFUL, Event.TAIL_LOST): Step(State.DOUBTFUL, Action.NOTHING),
    (State.DOUBTFUL, Event.FOUND): Step(State.ACCEPTED, Action.NOTHING),
    (State.DOUBTFUL, Event.MISSING): Step(State.FORGOTTEN, Action.DECIDE),
    (State.ANSWERED, Event.ACCEPTED): Step(State.ANSWERED, Action.NOTHING),
    (State.ANSWERED, Event.REFUSED): Step(State.ANSWERED, Action.NOTHING),
    (State.ANSWERED, Event.RECREATED): Step(State.FORGOTTEN, Action.NOTHING),
    (State.ANSWERED, Event.REBASED): Step(State.ANSWERED, Action.NOTHING),
    (State.ANSWERED, Event.REBASE_READ_AGAIN): Step(State.ANSWERED, Action.NOTHING),
    (State.ANSWERED, Event.READ_BEFORE_REBASE): Step(State.FORGOTTEN, Action.NOTHING),
    (State.ANSWERED, Event.TAIL_LOST): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
    (State.ANSWERED, Event.NOT_DELIVERED): Step(State.RELEASED, Action.RELEASE_UNDELIVERED),
    (State.ANSWERED_DOUBTFUL, Event.ACCEPTED): Step(State.ANSWERED, Action.NOTHING),
    (State.ANSWERED_DOUBTFUL, Event.REFUSED): Step(State.REFUSED, Action.REPORT),
    # It was promised: it is claimed again if the log does not have it when it is read again.
    (State.ANSWERED_DOUBTFUL, Event.RECREATED): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
    (State.ANSWERED_DOUBTFUL, Event.REBASED): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
    (State.ANSWERED_DOUBTFUL, Event.REBASE_READ_AGAIN): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
    (State.ANSWERED_DOUBTFUL, Event.READ_BEFORE_REBASE): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
    (State.ANSWERED_DOUBTFUL, Event.TAIL_LOST): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
    # If the log does not have it, the release has no effect.
    (State.ANSWERED_DOUBTFUL, Event.NOT_DELIVERED): Step(State.RELEASED, Action.RELEASE_UNDELIVERED),
    (State.ANSWERED_DOUBTFUL, Event.FOUND): Step(State.ANSWERED, Action.NOTHING),
    (State.ANSWERED_DOUBTFUL, Event.MISSING): Step(State.RECLAIMED, Action.CLAIM_AGAIN),
    (State.RECLAIMED, Event.ACCEPTED): Step(State.ANSWERED, Action.NOTHING),
    (State.RECLAIMED, Event.REFUSED): Step(State.REFUSED, Action.REPORT),
    (State.RECLAIMED, Event.RECREATED): Step(State.RECLAIMED, Action.NOTHING),
    (State.RECLAIMED, Event.REBASED): Step(State.RECLAIMED, Action.NOTHING),
    (State.RECLAIMED, Event.REBASE_READ_AGAIN): Step(State.RECLAIMED, Action.NOTHING),
    (State.RECLAIMED, Event.READ_BEFORE_REBASE): Step(State.FORGOTTEN, Action.NOTHING),
    (State.RECLAIMED, Event.NOT_DELIVERED): Step(State.RELEASED, Action.RELEASE_UNDELIVERED),
    # A snapshot may bring it without an outcome, or the log lost it a second time.
    (State.RECLAIMED, Event.TAIL_LOST): Step(State.ANSWERED_DOUBTFUL, Action.NOTHING),
}

IMPOSSIBLE = (
    Impossible(ENDS, tuple(Event), "nothing is known of a claim that has ended"),
    Impossible(
        UNDER_WAY,
        (Event.REQUEST_ANSWERED, Event.TAIL_LOST, Event.REBASE_READ_AGAIN, Event.FOUND, Event.MISSING),
        "only of a claim that was read back as accepted",
    ),
    Impossible(KEPT, (Event.PASSED, Event.CELL_DOWN), "only of a claim that was not read back"),
    Impossible(
        (State.UNWANTED, State.ABANDONED, *KEPT),
        (Event.BREAKS_GROUP,),
        "only a claim that its instance waits for is compared with its group",
    ),
    Impossible(
        (State.UNWANTED, State.ABANDONED, State.ANSWERED, State.ANSWERED_DOUBTFUL, State.RECLAIMED),
        (Event.REQUEST_FAILED,),
        "its request does not depend on it any more",
    ),
    Impossible((*UNDER_WAY, *HELD_FOR_REQUEST), (Event.NOT_DELIVERED,), "its request is not answered"),
    Impossible(ANSWERED, (Event.REQUEST_ANSWERED,), "a request is answered once"),
    Impossible((State.ACCEPTED,), (Event.READ_BEFORE_REBASE,), "the rebase has ended it before"),
    Impossible(
        (State.ACCEPTED, State.ANSWERED, State.RECLAIMED),
        (Event.FOUND, Event.MISSING),
        "only what is in doubt is looked for",
    ),
)


def step(state: State, event: Event) -> Step:
    """The next state and the action for an event in a state. Raises ImpossibleEvent if the table has no cell for it."""
    found = TRANSITIONS.get((state, event))
    if found is None:
        raise ImpossibleEvent(
            f"a claim in the state {state.name} met the event {event.name}, which the table of its life does not have; "
            "it is a fault of this scheduler"
        )
    return found
