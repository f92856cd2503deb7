"""Notes for the line of an event, from other events: the outcome of a claim or write, what a policy changed."""

from nova_sched.cli import event_text
from nova_sched.replay.decisions.outcomes import HAVE_OUTCOMES
from nova_sched.replay.decisions.policies import PolicyTrail, differences
from rpc_api import errors


class Notes:
    """Texts of events in their logs.

    A policy is shown by its differences from the one before, or with ``full`` by its options. Claims and writes have
    their outcomes if ``outcomes`` (an :class:`~nova_sched.replay.decisions.outcomes.Outcomes`) is not None."""

    def __init__(self, logs, outcomes=None, full: bool = False):
        self._trail = PolicyTrail(logs)
        self._outcomes = outcomes
        self._full = full

    def text(self, cell, position, index, event) -> str:
        """The text of an event at a place in a cell's log."""
        if event.name == "PolicyAdopted" and not self._full:
            return self._adopted(cell, position, index, event)
        text = event_text.whole_policy(event.data) if event.name == "PolicyAdopted" else event_text.text_of(event)
        outcome = self.outcome(cell, position, event)
        return text if outcome is None else f"[{outcome}] {text}"

    def outcome(self, cell, position, event):
        """Return the ClaimOutcome of a ClaimProposed, or the WriteOutcome of a write of Placement's API; None for
        other events, and if outcomes are not wanted."""
        if self._outcomes is None or event.name not in HAVE_OUTCOMES:
            return None
        if event.name == "ClaimProposed":
            return self._outcomes.of(cell, position, event.data.claim_uuid)
        return self._outcomes.of_write(cell, position, event)

    def _adopted(self, cell, position, index, event):
        data, before = event.data, self._trail.before(cell, position, index, event.producer)
        if before is None:
            return event_text.text_of(event)
        if before.digest == data.digest:
            return f"{data.digest}, as before"
        try:
            changed = differences(before.options, data.options)
        except errors.InvalidEvent as fault:
            return f"{data.digest} after {before.digest}: {fault}"
        return f"{data.digest} after {before.digest}: {', '.join(changed) or 'no option changed'}"
