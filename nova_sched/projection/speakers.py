"""Who may publish which event: by the role of the producer, its host, and its account."""

from typing import Any

from rpc_api.accounts import speaks_for
from rpc_api.codec import Event
from rpc_api.events import EVENTS

AGENT = "compute_agent"
OPERATOR = "operator/"
#: Events that may make the rule which counts for themselves.
_OF_ACCOUNTS = ("AccountsRequired", "LogRebased")
#: Name of an event -> the roles of which, at each level and without the rule of accounts, only the host is checked.
USUAL_SPEAKERS = {name: frozenset() if name in _OF_ACCOUNTS else schema.ROLES for name, schema in EVENTS.items()}


def fault_of_speaker(event: Event, account: str | None, level: int, accounts_required: bool) -> tuple[str, str] | None:
    """Why a producer may not publish an event in a log of a level, with an account: (code, sentence); None if it
    may."""
    role, _, name = event.producer.partition("/")
    data: Any = event.data
    schema = EVENTS[event.name]
    if role not in schema.ROLES and schema.LATER_ROLES.get(role, level + 1) > level:
        return "not-allowed", f"a {event.name} of {event.producer}, whose role may not"
    if role == AGENT and getattr(data, "host", name) != name:
        return "not-its-host", f"a {event.name} for {data.host} by {event.producer}"
    if (accounts_required or _requires(event)) and not speaks_for(account, event.producer):
        given = f"the account {account}" if account else "none"
        return "not-its-account", f"a {event.name} of {event.producer}, appended with {given}"
    return None


def _requires(event: Event) -> bool:
    """Whether an event makes a rule that counts for the event itself, too."""
    data: Any = event.data
    return (event.name == "AccountsRequired" and data.required) or (
        event.name == "LogRebased" and data.accounts_required
    )


def fault_of_rebase(event: Event, level: int) -> tuple[str, str] | None:
    """Why a LogRebased does not count in a log that may have API writes, which nobody reports again. A reader that
    starts in the log cannot know whether it has some, so the level and the role alone decide."""
    if event.producer.startswith(OPERATOR):
        return None
    return (
        "not-rebased",
        f"a LogRebased of {event.producer} in a log at level {level}, which may have API writes: only an operator may "
        "rebase it",
    )
