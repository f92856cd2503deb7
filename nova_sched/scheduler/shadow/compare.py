"""What a shadow would have chosen beside what Nova chose, and why they differ."""

from typing import NamedTuple

from nova_sched.projection.claim_refusals import OF_GROUP
from nova_sched.selection.claim_rules import CLAIM_RULES

#: Verdicts: the same host; another host that is as good, of which one is drawn by chance; the state changed after the
#: decision here, and Nova's host is the best one in front of Nova's claim; another host; only one of the two found a
#: host; neither did; it is not known what Nova did; Nova's claim was in the log before the decision here.
SAME, TIE, MOVED, DIFFERENT, ONLY_NOVA, ONLY_OURS, NEITHER, UNSEEN, LATE = VERDICTS = (
    "same",
    "tie",
    "moved",
    "different",
    "only-nova",
    "only-ours",
    "neither",
    "unseen",
    "late",
)
#: Verdicts of which chance and time are not the reason.
DIFFERENCES = (DIFFERENT, ONLY_NOVA, ONLY_OURS)
#: Causes of DIFFERENT and ONLY_NOVA: Nova's host is not known here; the state here says that it cannot take the
#: instance; a filter refuses it; it has a lower score; a fault prevented the comparison.
UNKNOWN_HOST, STATE, FILTER, WEIGHT, FAULT = CAUSES = ("unknown-host", "state", "filter", "weight", "fault")
#: Filters that compare the state of a host with the request, where Nova asks Placement and the service record.
_OF_STATE = frozenset({"ResourceFilter", "ComputeFilter", "ComputeStatusFilter", CLAIM_RULES})
#: So many weighers are named, those with the greatest differences.
WEIGHERS_NAMED = 3


class Compared(NamedTuple):
    """A verdict and its cause ("" if it needs none), the filter or weigher that makes the difference ("" for none), and
    why in one sentence."""

    verdict: str
    cause: str
    part: str
    text: str


class Ours(NamedTuple):
    """The shadow's decision: its ``hosts``, the chosen one first; ``summary`` says why there are none."""

    hosts: tuple[str, ...]
    summary: str


def without_choice(ours: Ours, seconds: float, is_blind: bool) -> Compared:
    """The comparison if no choice of Nova was seen within so many seconds. ``is_blind``: it may have been missed."""
    if is_blind:
        return Compared(UNSEEN, "", "", f"what Nova did may have been missed; no choice was seen within {seconds:g} s")
    if not ours.hosts:
        return Compared(NEITHER, "", "", f"no host was found here: {ours.summary}")
    return Compared(ONLY_OURS, "", "", f"Nova chose no host within {seconds:g} s, {ours.hosts[0]} was chosen here")


def compare(ours: Ours, nova_host: str, judged, subset_size: int = 1, is_late: bool = False) -> Compared:
    """Compare with Nova's host; ``judged`` is its Judged beside ours[0], by the state in front of Nova's claim, or None
    for an unknown host. One of the ``subset_size`` best hosts is drawn. ``is_late``: Nova's own claim was counted."""
    verdict = DIFFERENT if ours.hosts else ONLY_NOVA
    mine = ours.hosts[0] if ours.hosts else None
    if nova_host == mine:
        return Compared(SAME, "", "", f"{mine} was chosen by both")
    if is_late:
        return Compared(LATE, "", "", f"Nova's claim on {nova_host} was in the log before the decision here")
    if judged is None:
        return Compared(verdict, UNKNOWN_HOST, "", f"Nova's host {nova_host} is not known here")
    if judged.refusal is not None:
        name, reason = judged.refusal
        is_state = name in _OF_STATE and reason.code not in OF_GROUP
        return Compared(
            verdict,
            STATE if is_state else FILTER,
            name,
            f"Nova's host {nova_host} is refused here by {name} ({reason}): {judged.text}",
        )
    return _of_scores(verdict, ours, mine, nova_host, judged.standing, subset_size)


def _of_scores(verdict, ours, mine, nova_host, standing, subset_size):
    """Nova's host passes here, too."""
    place = f"rank {standing.rank} of {standing.of}"
    if standing.rank <= subset_size:
        if mine is None:
            return Compared(MOVED, "", "", f"{nova_host} passes by now ({place}), it did not before: {ours.summary}")
        if standing.rank == 1 and standing.best != mine:
            return Compared(MOVED, "", "", f"{nova_host} is the best by now, {mine} was before")
        drawn = (
            f"both have the score {standing.score:+.3f}"
            if standing.rank == 1
            else f"{nova_host} is among the {subset_size} best ({place})"
        )
        return Compared(TIE, "", "", f"{nova_host} or {mine}: {drawn}, and one is drawn")
    alternate = f", alternate {ours.hosts.index(nova_host)} here" if nova_host in ours.hosts else ""
    rows = _weighers(standing)
    shown = ", ".join(
        f"{name} {weighed:+.3f} ({raw:g}) against {other:+.3f} ({other_raw:g})"
        for name, weighed, raw, other, other_raw in rows[:WEIGHERS_NAMED]
    )
    return Compared(
        verdict,
        WEIGHT,
        rows[0][0] if rows else "",
        f"{nova_host} has the score {standing.score:+.3f} ({place}{alternate}), {standing.best} has "
        f"{standing.best_score:+.3f}: {shown}",
    )


def _weighers(standing):
    """(Name, weighed, raw, weighed and raw of the best host) of the weighers that make the difference, the greatest
    first."""
    rows = [
        (name, weighed, raw, other, other_raw)
        for (name, raw, weighed), (_, other_raw, other) in zip(standing.scores, standing.best_scores, strict=True)
        if weighed != other
    ]
    return sorted(rows, key=lambda row: (-abs(row[1] - row[3]), row[0]))
