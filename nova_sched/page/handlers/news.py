"""Decisions and refusals as they happen, and whether something changed."""

from nova_sched.page.answers import as_json
from nova_sched.page.moments import at_of
from nova_sched.replay.logs.moments import stamp

#: Seconds that a request waits for news at most.
WAIT_SECONDS = 20.0
#: Happenings in one answer at most.
MOST = 200
#: Whole numbers that a browser can keep.
NUMBER_MAX = 2**53


def news(asked):
    """Wait until something changes after ``version`` or happens after ``after``, and return it.

    A browser that is too slow gets the newest part only (``skipped``), so nothing waits for it here."""
    page = asked.page
    cloud = page.cloud
    after = asked.number("after", 0, 0, NUMBER_MAX)
    version = asked.number("version", 0, 0, NUMBER_MAX)
    rounds = cloud.happenings.rounds
    is_new = cloud.shown.version != version or cloud.happenings.last > after
    waited = False
    if asked.text("wait") == "1" and not is_new:
        with page.waits.one(asked.client) as may_wait:
            if may_wait:
                cloud.happenings.wait(after, rounds, WAIT_SECONDS)
            waited = may_wait
    shown, last = cloud.shown, cloud.happenings.last
    found, skipped = cloud.happenings.after(after, MOST, asked.project)
    return as_json(
        {
            "version": shown.version,
            "topology": shown.topology.version,
            "last": last,
            # After an answer at once, the browser waits itself before it asks again.
            "waited": waited or is_new,
            "skipped": skipped,
            "happenings": found,
            **_state(asked, cloud, shown),
        }
    )


def _state(asked, cloud, shown):
    """How far the logs are read, and how far the slider goes back."""
    firsts = [tape.first.at_ns for tape in cloud.tapes.values()]
    lasts = [place.at_ns for place in shown.places.values()]
    state = {
        "is_ready": shown.is_ready,
        "progress": round(shown.progress, 4),
        "first_ns": str(_begin(cloud, firsts)),
        "last_ns": str(max(lasts, default=0)),
        "now": stamp(asked.page.clock.now_ns()),
        "is_incomplete": bool(shown.faults),
    }
    if asked.project is None:
        state["faults"] = [{"cell": cell, "text": text} for cell, text in sorted(shown.faults.items())]
        state["positions"] = {cell: place.position for cell, place in shown.places.items()}
    return state


def _begin(cloud, firsts):
    """The first time that all tapes have."""
    kept = [at_ns for at_ns in firsts if at_ns]
    return max(kept) if kept else min((tape.begin_ns for tape in cloud.tapes.values() if tape.begin_ns), default=0)


def happenings(asked):
    """The last decisions and refusals up to a moment."""
    page = asked.page
    at = at_of(page.cloud, asked.text("at"), page.clock.now_ns())
    most = asked.number("most", 50, 1, MOST)
    found, _ = page.cloud.happenings.after(0, most, asked.project, None if at.is_now else at.at_ns)
    return as_json({"happenings": found, "last": page.cloud.happenings.last})
