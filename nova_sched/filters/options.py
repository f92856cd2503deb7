"""An option as a filter, a request filter or a weigher declares it, without the library that reads configurations.

The scheduler makes options of oslo.config from these (:mod:`nova_sched.scheduler.config`), and the policy has a field
for each (:mod:`nova_sched.selection.policy`).
"""

import enum
from typing import Any, NamedTuple


class Kind(enum.Enum):
    """What the value of an option is. A list is a tuple in the policy."""

    FLAG = "a boolean"
    WHOLE = "a whole number"
    NUMBER = "a finite number"
    TEXT = "a text, or None"
    TEXTS = "a list of texts"
    WEIGHTS = "a list of pairs of a name and a weight, configured as name=weight"


class Option(NamedTuple):
    """``default`` is of the ``kind``; ``least`` is the smallest number and ``choices`` are the only texts that may be
    configured (None: any). ``policy_name`` is the name of the policy's field, if it is another than ``name``."""

    name: str
    kind: Kind
    default: Any
    help: str
    section: str = "filter_scheduler"
    least: float | None = None
    choices: tuple | None = None
    policy_name: str | None = None

    @property
    def field(self) -> str:
        """The name of the policy's field."""
        return self.policy_name or self.name
