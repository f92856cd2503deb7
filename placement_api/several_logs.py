"""Writes of allocations that concern several logs.

The order of a log decides over a consumer that holds something there, and such a write is one event. Providers and
consumers of one write may be in several logs, and a consumer that is new must be in none of them. Then the write is
done in two steps (nova_sched.projection.prepared has the rules): each log accepts its part and holds the room for it,
for new consumers the worker looks at all logs (placement_api.reservations), then the home log decides. A worker may end
at any point of that. Any worker of an endpoint that serves the logs finishes what is left: see :func:`finish`.
"""

import contextlib
import logging
import uuid
from collections.abc import Iterator

from placement_api import consumers
from placement_api.http_errors import CONCURRENT_UPDATE, Conflict, HTTPError, Unavailable
from placement_api.refusals import CONSUMER_CONFLICT
from placement_api.reservations import LEFT_AFTER, first_of_others, give_up, reserved
from rpc_api import errors, events
from rpc_api.config import CELL0

LOG = logging.getLogger(__name__)

#: Who finishes what another one has left.
NOBODY = ("", None)


def home_of(cells) -> str:
    """The log that decides a write over some logs: that of the API level, or the first by name."""
    return CELL0 if CELL0 in cells else min(cells)


def write(request, parts, refusals) -> None:
    """Write the parts of a request, {LedgerLog: [ConsumerPut, ...]}, in all logs or in none. Raises the error of the
    log that refuses its part, and Conflict if another log has a consumer that should be new."""
    new = _new_in(request.region, parts)
    if len(parts) > 1 or new:
        _write_in_two_steps(request, parts, new, refusals)
    else:
        ((log, part),) = parts.items()
        request.write(log, events.AllocationsPut(tuple(part), *request.who()), refusals)


@contextlib.contextmanager
def kept_new(request, log, part) -> Iterator[None]:
    """The body writes a part, [ConsumerPut, ...], into a log in one event. Its new consumers are in no other log then;
    Conflict if one has them."""
    region, new = request.region, _new_in(request.region, {log: part})
    # They are locked in another log, as in its own one the event of the body could not write them. If no other log can
    # be reached, nobody writes there.
    other = next((one for one in region.logs.values() if one is not log and one.why_stale is None), None)
    if new and other is None:
        region.fence_before_new()
    with reserved(request, other, new) if new and other is not None else contextlib.nullcontext():
        _check_nowhere_else(region, (log,), new)
        yield


def _new_in(region, parts) -> set[str]:
    """The consumers that no other log may have: those of which no part expects a generation. With one log there are no
    others."""
    if len(region.logs) == 1:
        return set()
    known = {one.consumer_uuid for part in parts.values() for one in part if one.generation is not None}
    return {one.consumer_uuid for part in parts.values() for one in part} - known


def _write_in_two_steps(request, parts, new, refusals):
    logs = {log.cell: log for log in parts}
    home, write_uuid = home_of(logs), str(uuid.uuid4())
    names, begun = (home, *sorted(logs.keys() - {home})), []
    named = tuple(dict.fromkeys(one.consumer_uuid for part in parts.values() for one in part))
    try:
        for name in names:
            begun.append(logs[name])
            prepared = events.AllocationsPrepared(write_uuid, home, names, tuple(parts[logs[name]]), *request.who())
            request.write(logs[name], prepared, refusals)
        if new:
            first = first_of_others(request.region, write_uuid, new)
            if first is not None:
                raise _at_the_same_time(first.locked, first.log)
            _check_nowhere_else(request.region, parts, new)
    except HTTPError:
        give_up(begun, write_uuid, named, request.who())
        raise
    commit, ended = (
        events.WriteCommitted(write_uuid, named, *request.who()),
        events.WriteEnded(write_uuid, *request.who()),
    )
    others = [logs[name] for name in names[1:]]
    if logs[home].write(commit, *([] if others else [ended])).reason is not None:
        give_up(others, write_uuid, named, request.who())
        raise Conflict(
            "The write took too long, and was given up in all cells: a concurrent update. Repeat it.", CONCURRENT_UPDATE
        )
    # From here on it is done, whatever happens: what is left, another worker finishes.
    try:
        for log in others:
            log.write(commit)
        if others:
            logs[home].write(ended)
    except HTTPError as fault:
        LOG.warning("the write %s over several cells is finished later: %s", write_uuid, fault)


def _check_nowhere_else(region, parts, new):
    with region.lock:
        for consumer_uuid in new:
            log = next((log for log in consumers.logs_of(region, consumer_uuid) if log not in parts), None)
            if log is not None:
                raise _at_the_same_time(consumer_uuid, log)


def _at_the_same_time(consumer_uuid, log) -> Conflict:
    return Conflict(
        f"{CONSUMER_CONFLICT} - consumer {consumer_uuid} is written in {log.cell} at the same time; repeat the request",
        CONCURRENT_UPDATE,
    )


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
    named = tuple(one.consumer_uuid for one in part.consumers)
    abort = events.WriteAborted(write_uuid, named, *NOBODY)
    if _is_in(region, home, "prepared", write_uuid):
        home.write(abort)
    if log is home:
        return
    # (If it was committed meanwhile, home refused to give it up.)
    is_committed = _is_in(region, home, "committed", write_uuid)
    LOG.info("the write %s, which its worker has left, is %s", write_uuid, "done" if is_committed else "given up")
    log.write(events.WriteCommitted(write_uuid, named, *NOBODY) if is_committed else abort)


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
