"""How the request of an instance ended: a code and a sentence, from its decisions and the events after them."""

from typing import NamedTuple

from nova_sched.replay.decisions.story import REFUSED, failed_hosts
from rpc_api.wording import number_of


class Ending(NamedTuple):
    """How it went with an instance's request: a stable ``code`` and a sentence."""

    code: str
    text: str


def ending(decisions, steps, fates) -> Ending:
    """How the request of one instance ended, by its last decision and the events after it: codes ``built``,
    ``on-host`` (of Nova), ``claimed``, ``no-valid-host``, ``cells-unreachable``, ``refused`` (for a reason that is not
    in its decisions), ``retries-exhausted``, ``claim-refused``, ``claim-lost``, ``given-back``, ``deleted``."""
    last = decisions[-1]
    later = [step for step in steps if step.at_ns >= decisions[0].at_ns]
    return (
        _built(later)
        or _retries_exhausted(later, fates)
        or _refused(last, later)
        or _nothing_selected(last)
        or _claim_without_effect(last, later, fates)
        or _on_host_of_nova(last, later)
        or Ending("claimed", f"claimed on {last.decision.hosts[0]}, not started yet")
    )


def _last(steps, is_it):
    return next((step for step in reversed(steps) if is_it(step)), None)


def _built(later):
    deleted = _last(later, lambda step: step.name == "InstanceDeleted")
    started = _last(later, lambda step: step.name == "InstanceStarted")
    if started is None:
        return None
    if deleted is not None and deleted.at_ns >= started.at_ns:
        return Ending("deleted", f"built on {started.data.host}, deleted since")
    return Ending("built", f"built on {started.data.host}")


def _retries_exhausted(later, fates):
    final = _last(later, lambda step: step.name == "BuildFailed" and step.data.final)
    if final is None:
        return None
    built, taken = failed_hosts(later, fates)
    parts = [f"{number_of(len(built), 'build')} failed"]
    if taken:
        parts.append(f"{len(taken)} {'alternate was' if len(taken) == 1 else 'alternates were'} taken")
    return Ending(
        "retries-exhausted",
        f"{' and '.join(parts)}, the last on {final.data.host}: {final.data.reason}; no alternate was left",
    )


def _refused(last, later):
    refused = _last(
        later,
        lambda step: (
            step.name == "RequestRefused"
            and step.data.request_id == last.decision.request_id
            and step.at_ns >= last.at_ns
        ),
    )
    return None if refused is None else Ending("refused", refused.data.reason)


def _nothing_selected(last):
    if last.is_selected:
        return None
    if not last.unreachable:
        return Ending("no-valid-host", "no valid host")
    return Ending(
        "cells-unreachable",
        f"{', '.join(last.unreachable)} could not be reached, and no other cell had a host; the scheduler answered "
        "that the service is unavailable",
    )


def _claim_without_effect(last, later, fates):
    """How it ended if the claim of the last decision holds nothing: None if it does."""
    claim = last.decision.claim_uuid
    if claim is None:
        return Ending("claimed", "the host passed, nothing was to be claimed")
    fate = fates.get(claim)
    if fate is None:
        return Ending("claim-lost", "its claim is in no log that is named")
    if fate.verdict == REFUSED:
        return Ending("claim-refused", f"its claim was refused: {fate.reason}")
    ended = _last(later, lambda step: step.name in ("ClaimReleased", "ClaimExpired") and step.data.claim_uuid == claim)
    if ended is None:
        return None
    if ended.name == "ClaimExpired":
        return Ending("given-back", "its claim expired")
    return Ending("given-back", f"its claim was released: {ended.data.reason}")


# --- hosts of Nova ---------------------------------------------------------------------------------------------------


def _on_host_of_nova(last, later):
    """How it went on by what nova-compute reports, and by what clients of Placement's API wrote of the instance."""
    uuid = last.decision.instance_uuid
    on, came = None, None
    for step in later:
        if step.name == "InstancesTracked":
            if any(one.instance_uuid == uuid for one in step.data.instances):
                on, came = step.data.host, step
            elif uuid in step.data.gone and step.data.host == on:
                on = None
    given_back = _last(later, lambda step: _is_given_back(step, uuid) and _is_after(step, last))
    if given_back is not None and on is None:
        was = "" if came is None else f"was on {came.data.host}; "
        return Ending("given-back", f"{was}its resources were given back with {given_back.data.request_id}")
    if on is not None and (on == last.decision.hosts[0] or _is_after(came, last)):
        return Ending("on-host", f"on {on}, as its nova-compute reports")
    return None


def _is_after(step, decided):
    """Whether a Step came after a decision: by their positions, or by their times in different logs."""
    if step.cell == decided.cell:
        return step.position >= decided.position
    return step.at_ns >= decided.at_ns


def _is_given_back(step, uuid):
    """Whether a write leaves the instance without resources in its log."""
    if step.name == "AllocationsDropped":
        return True
    puts = step.data.consumers if step.name in ("AllocationsPut", "Reshaped") else ()
    return any(one.consumer_uuid == uuid and not one.allocations for one in puts)
