"""Writes of allocations whose providers and consumers are in several logs.

A write over several logs is done in two steps (nova_sched.projection.prepared has the rules): each log accepts its part
and holds the room for it, then the home log decides. A worker may end at any point of that. Any worker of an endpoint
that serves the logs finishes what is left: see :func:`finish`.
"""

import logging
import uuid

from placement_api.http_errors import CONCURRENT_UPDATE, Conflict, HTTPError, Unavailable
from rpc_api import errors, events
from rpc_api.config import CELL0

LOG = logging.getLogger(__name__)

#: Seconds after which others finish a write: its own worker waits less for each of its events.
LEFT_AFTER = 30.0
#: Who finishes what another one has left.
NOBODY = ("", None)


def home_of(cells) -> str:
    """The log that decides a write over some logs: that of the API level, or the first by name."""
    return CELL0 if CELL0 in cells else min(cells)


def write(request, parts, refusals) -> None:
    """Write the parts of a request, {LedgerLog: [ConsumerPut, ...]}, in all logs or in none. Raises the error of the
    log that refuses its part."""
    logs = {log.cell: log for log in parts}
    home, write_uuid = home_of(logs), str(uuid.uuid4())
    names = (home, *sorted(logs.keys() - {home}))
    consumers = tuple(dict.fromkeys(one.consumer_uuid for part in parts.values() for one in part))
    try:
        for name in names:
            part = tuple(parts[logs[name]])
            request.write(
                logs[name], events.AllocationsPrepared(write_uuid, home, names, part, *request.who()), refusals
            )
    except HTTPError:
        _abort([logs[name] for name in names], write_uuid, consumers, request.who())
        raise
    commit = events.WriteCommitted(write_uuid, consumers, *request.who())
    if logs[home].write(commit).reason is not None:
        _abort([logs[name] for name in names[1:]], write_uuid, consumers, request.who())
        raise Conflict(
            "The write took too long, and was given up in all cells: a concurrent update. Repeat it.", CONCURRENT_UPDATE
        )
    # From here on it is done, whatever happens: what is left, another worker finishes.
    try:
        for name in names[1:]:
            logs[name].write(commit)
        logs[home].write(events.WriteEnded(write_uuid, *request.who()))
    except HTTPError as fault:
        LOG.warning("the write %s over several cells is finished later: %s", write_uuid, fault)


def _abort(logs, write_uuid, consumers, who) -> None:
    """Give up a write, at home first. What cannot be reached now is given up later, as home knows nothing of it."""
    for log in logs:
        try:
            log.write(events.WriteAborted(write_uuid, consumers, *who))
        except HTTPError as fault:
            LOG.warning("the write %s is given up in %s later: %s", write_uuid, log.cell, fault)


# --- what others have left -------------------------------------------------------------------------------------------


def finish(region, now_ns: int) -> int:
    """Finish the writes that are older than LEFT_AFTER, as far as their logs can be reached; returns how many were
    found."""
    before_ns = now_ns - int(LEFT_AFTER * 1e9)
    with region.lock:
        parts = [
            (log, write_uuid, part)
            for log in region.logs.values()
            for write_uuid, part in log.projection.prepared.items()
            if part.at_ns < before_ns and part.home in region.logs
        ]
        decided = [
            (log, write_uuid, found.logs)
            for log in region.logs.values()
            for write_uuid, found in log.projection.committed.items()
            if found.at_ns < before_ns and region.logs.keys() >= set(found.logs)
        ]
    for step, items in ((_finish_part, parts), (_forget, decided)):
        for log, write_uuid, about in items:
            try:
                step(region, log, write_uuid, about)
            except (HTTPError, errors.NovaSchedError) as fault:
                LOG.warning("the write %s over several cells is finished later: %s", write_uuid, fault)
    return len(parts) + len(decided)


def _finish_part(region, log, write_uuid, part) -> None:
    """Do with a part what its home decided; if home has not decided, it is given up there first."""
    home = region.logs[part.home]
    consumers = tuple(one.consumer_uuid for one in part.consumers)
    abort = events.WriteAborted(write_uuid, consumers, *NOBODY)
    if _is_in(region, home, "prepared", write_uuid):
        home.write(abort)
    if log is home:
        return
    # (If it was committed meanwhile, home refused to give it up.)
    is_committed = _is_in(region, home, "committed", write_uuid)
    LOG.info("the write %s, which its worker has left, is %s", write_uuid, "done" if is_committed else "given up")
    log.write(events.WriteCommitted(write_uuid, consumers, *NOBODY) if is_committed else abort)


def _forget(region, home, write_uuid, cells) -> None:
    """Let the home log forget a write that all logs have committed."""
    logs = [region.logs[cell] for cell in cells if cell != home.cell]
    if not any(_is_in(region, log, "prepared", write_uuid) for log in logs):
        home.write(events.WriteEnded(write_uuid, *NOBODY))


def _is_in(region, log, where: str, write_uuid: str) -> bool:
    """Whether a write is ``prepared`` or ``committed`` in a log now; Unavailable if that is not known."""
    if not log.waits.fence():
        raise Unavailable(f"The log of {log.cell} cannot be read now.")
    with region.lock:
        return write_uuid in getattr(log.projection, where)
