"""From the bytes of a message of oslo.messaging to the call in it, for programs that read copies of messages.

A message travels in an envelope (version 2.0). It also has the token of a user: nothing of it may reach a log line.
"""

import json
from typing import Any

ENVELOPE_VERSION, ENVELOPE_MESSAGE = "oslo.version", "oslo.message"
CONTEXT = "_context_"
#: A compute node of 1,000 devices is 300 KB. A larger message is not parsed.
MAX_BYTES = 8 * 1024 * 1024


class NotACall(Exception):
    """A message cannot be read; the text says what is wrong, and quotes nothing secret."""


def message_of(body: bytes) -> dict[str, Any]:
    """The RPC message in the bytes of an envelope. Raises NotACall."""
    envelope = _parsed(body, "the body")
    if ENVELOPE_MESSAGE not in envelope:
        # Before version 2.0 of the envelope there was none.
        return envelope
    version = envelope.get(ENVELOPE_VERSION)
    if type(version) is not str or version.partition(".")[0] != "2":
        raise NotACall(f"its envelope has the version {version!r:.20}, wanted 2.0")
    return _parsed(envelope[ENVELOPE_MESSAGE], ENVELOPE_MESSAGE)


def call_of(message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The method of an RPC message, and its arguments as they are sent. Raises NotACall."""
    method, args = message.get("method"), message.get("args")
    if type(method) is not str or type(args) is not dict:
        raise NotACall("it has no method or no args")
    return method, args


def context_of(message: dict[str, Any]) -> dict[str, Any]:
    """The context of an RPC message as it is sent."""
    return {name.removeprefix(CONTEXT): value for name, value in message.items() if name.startswith(CONTEXT)}


def _parsed(content: Any, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(content)
    except (ValueError, TypeError, RecursionError):
        raise NotACall(f"{what} is not JSON") from None
    if type(parsed) is not dict:
        raise NotACall(f"{what} is not a map")
    return parsed
