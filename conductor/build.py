"""Builds one instance on its claims, one after the other, until one of them runs.

A build is a generator: it yields what it waits for (:class:`Folded`,
:class:`ReadBack`, :class:`Call`) and is sent the answer, so that the same steps
run in a thread that waits and in a simulation that does not.

A claim is only released when it is certain that the instance does not and will
not run under it. If an agent does not answer, that is uncertain: the conductor asks
it to cancel. If the agent does not confirm the cancellation, the claim stays and the
build ends, so that the same room is never given to two instances.
"""

import logging
from typing import NamedTuple

from nova_sched.projection.claim_refusals import OLDER_LEVEL
from rpc_api import errors, events, messages
from rpc_api.events.claim import reason_without_build
from rpc_api.packing import printable

LOG = logging.getLogger(__name__)


class Folded(NamedTuple):
    """Waits until the log was folded to a position. Answered with None; TimeoutError is raised into the build."""

    position: int


class ReadBack(NamedTuple):
    """Waits until a claim was folded. Answered with None (accepted) or the Reason why it was refused; TimeoutError is
    raised into the build when that does not come in time."""

    claim_uuid: str


class Call(NamedTuple):
    """Waits for an agent. ``method`` is ``build_instance`` (a BuildAnswer) or ``cancel_build`` (True when it is sure
    that the instance does not run); NovaSchedError is raised into the build."""

    method: str
    server: str
    claim: object


def call_agent(agents, context, step: Call, timeout: float):
    """Make the call that a build waits for; ``agents`` is an AgentAPI."""
    # Agents do not use the user, and one of the release before does not know that field.
    claim = step.claim._replace(user_id=None)
    if step.method == "build_instance":
        return agents.build_instance(context, step.server, claim, timeout)
    return agents.cancel_build(context, step.server, claim.host, claim.claim_uuid, claim.instance_uuid, timeout)


class Attempt(NamedTuple):
    """The result of a build on one host: ``certain`` is False if the instance may run all the same."""

    started: bool
    certain: bool
    reason: str


def steps(cell, build):
    """Build an instance (a BuildRequest) in a cell (a :class:`~conductor.engine.CellEngine`): its first claim was
    accepted, its others are claimed when they are needed. Returns a BuildOutcome."""
    attempts, reasons = 0, []
    with cell.build_of(build) as state:
        for number, claim in enumerate(build.claims):
            last = number == len(build.claims) - 1
            refused = yield from _claim(cell, claim) if number else _look(cell, claim, build.position)
            if refused is None and state.deleted:
                refused = "the instance was deleted"
            if refused is not None:
                reason = reason_without_build(refused)
                reasons.append(f"{claim.host}: {reason}")
                final = last or state.deleted or not number
                # Released whether it holds or not: no build is going to use it.
                cell.publish(
                    events.ClaimReleased(claim.consumer_uuid, claim.claim_uuid, refused),
                    _failure(build, claim, attempts, reason, final),
                )
                if final:
                    break
                continue
            attempts += 1
            attempt = yield from _build_on(cell, claim)
            if attempt.started:
                return messages.BuildOutcome(
                    build.instance_uuid, messages.BUILT, claim.host, claim.allocations, attempts, ""
                )
            reasons.append(f"{claim.host}: {attempt.reason}")
            final = last or state.deleted or not attempt.certain or attempts == build.max_attempts
            released = (events.ClaimReleased(claim.consumer_uuid, claim.claim_uuid, attempt.reason),)
            cell.publish(
                *(released if attempt.certain else ()), _failure(build, claim, attempts, attempt.reason, final)
            )
            if final:
                break
    builds = f"{attempts} build{'' if attempts == 1 else 's'}"
    reason = printable(f"No host left after {builds}: " + "; ".join(reasons))
    LOG.info("instance %s of %s is not built: %s", build.instance_uuid, build.request_id, reason)
    return messages.BuildOutcome(build.instance_uuid, messages.MAX_RETRIES_EXCEEDED, None, (), attempts, reason)


def _failure(build, claim, attempts, reason, final):
    return events.BuildFailed(build.instance_uuid, build.request_id, claim.host, attempts, reason, final)


def _look(cell, claim, position):
    """Look whether the claim that a scheduler had accepted at ``position`` still holds; None, or why it does not.

    The claim may have expired while the build waited for its turn, or it was released: then another instance may have
    the room.
    """
    try:
        yield Folded(position)
    except TimeoutError:
        return "the log was not folded in time"
    return None if cell.holds(claim) else "it does not hold any more"


def _claim(cell, claim):
    """Claim an alternate on the cell's log; None when it is accepted, else why not. A claim that the log would refuse
    is not published."""
    refused = cell.refusal_of(claim)
    if refused is not None:
        return str(refused)
    try:
        cell.publish(claim)
        refused = yield ReadBack(claim.claim_uuid)
        if refused == OLDER_LEVEL:
            # The log was pinned to a higher level in between: the same claim in the forms of that level may do.
            cell.publish(claim)
            refused = yield ReadBack(claim.claim_uuid)
    except TimeoutError:
        return "it was not read back in time"
    return None if refused is None else str(refused)


def _build_on(cell, claim):
    server = cell.server_of(claim.host)
    if server is None:
        return Attempt(False, True, "the host is not known in this cell")
    cell.building.add(claim.claim_uuid)
    try:
        answer = yield Call("build_instance", server, claim)
        return Attempt(answer.started, True, printable(answer.reason))
    except (errors.UsageError, errors.NoSuchServer) as fault:
        # It did not begin.
        return Attempt(False, True, printable(str(fault)))
    except errors.NovaSchedError as fault:
        return (yield from _cancel(server, claim, fault))
    finally:
        cell.building.discard(claim.claim_uuid)


def _cancel(server, claim, fault):
    LOG.warning(
        "whether %s runs on %s is not known, its agent is asked to cancel: %s", claim.instance_uuid, claim.host, fault
    )
    try:
        cancelled = yield Call("cancel_build", server, claim)
    except errors.NovaSchedError as refused:
        LOG.warning(
            "the agent of %s did not confirm that %s does not run: %s", claim.host, claim.instance_uuid, refused
        )
        cancelled = False
    fault = printable(str(fault))
    if cancelled:
        return Attempt(False, True, f"cancelled, as its agent gave no answer: {fault}")
    return Attempt(
        False,
        False,
        f"its agent gave no answer ({fault}) and did not confirm that the build is "
        "cancelled; the claim stays until it expires or the host reports",
    )
