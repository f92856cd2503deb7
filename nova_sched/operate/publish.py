"""Events of operators: appended to the log of a cell, and read back as counted."""

from nova_sched.replay.logs.reading import decoded_records
from rpc_api import codec, errors
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import opening_in

#: The level of a log from which on it has the events of operators about hosts.
LEDGER_LEVEL = 3


def check_level(state, what: str) -> None:
    """Raise UsageError if a log has no events of operators about hosts; ``what`` needs them."""
    if state.is_too_new:
        raise state.unknown_level()
    if not state.rules.one_ledger:
        raise errors.UsageError(
            f"the log of {state.cell} is at level {state.level}, {what} needs level {LEDGER_LEVEL}; "
            "run nova-sched pin first"
        )


def published(log, state, name: str, *data) -> int:
    """Append events of ``operator/NAME``, fold a log's state on to them, and return the position of the last one.

    Raises UsageError for the log of another cell, and NovaSchedError for an event that does not count."""
    opening_in(log, state.cell)
    producer = f"operator/{name}"
    # It grows, also if an earlier command had a clock that was ahead.
    epoch_ns = max(SYSTEM.now_ns(), state.producers.get(producer, (0, 0))[0] + 1)
    made = [codec.make_event(each, producer, epoch_ns, number, SYSTEM.now_ns()) for number, each in enumerate(data, 1)]
    log.append(codec.encode_records(state.epoch, codec.encode_events(made, state.level), state.level))
    waiting = set(range(1, len(made) + 1))
    for position, record in decoded_records(log, state.position + 1):
        state.fold([(position, record)])
        mine = {
            event.sequence: index
            for index, event in enumerate(record.events)
            if isinstance(event, codec.Event) and (event.producer, event.producer_epoch) == (producer, epoch_ns)
        }
        if not mine:
            continue
        for aside in state.quarantine:
            if aside.position == position and aside.index in mine.values():
                hint = "; use the account operator or operator.NAME" if state.accounts_required else ""
                raise errors.NovaSchedError(
                    f"the event of {producer} does not count in the log of {state.cell}: {aside.reason}{hint}"
                )
        if state.producers.get(producer, (0, 0))[0] != epoch_ns:
            raise errors.NovaSchedError(
                f"the event of {producer} does not count in the log of {state.cell}: another command publishes under "
                "that name at the same time; repeat it, or use another --name"
            )
        waiting -= mine.keys()
        if not waiting:
            return position
    raise errors.LogUnavailable(f"the events were not read back from {log.url}; check its broker, and try again")
