"""A reason: why a host, a request or a claim is refused. This is the one place where a reason becomes a text.

A log holds the text. A reader that makes a decision again compares the text of its own reason with the recorded one,
and never parses a recorded text.
"""

from functools import lru_cache
from string import Formatter
from typing import Any, NamedTuple


class Reason(NamedTuple):
    """``code`` is stable, and is also the template of the text: it has a word in braces for each of the ``facts``, in
    their order. If a fact is a tuple, the text after a colon in the word joins its items:
    ``trait {trait: or }``. A code without facts is its own text."""

    code: str
    facts: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return _text_of(self.code, self.facts)


@lru_cache(4096)
def _text_of(code: str, facts: tuple[Any, ...]) -> str:
    if not facts:
        return str(code)
    left, parts = iter(facts), []
    for literal, word, joint, _ in Formatter().parse(code):
        parts.append(literal)
        if word is not None:
            fact = next(left)
            parts.append(joint.join(fact) if joint else str(fact))
    return "".join(parts)


def kind_of(code: str) -> str:
    """A code in words without its facts, for reasons that are counted together: that of the enumeration of the code, or
    the code itself."""
    return str(getattr(code, "kind", code))


def template_of(code: str) -> str:
    """A code in the form for documents: a fact of several items is shown with two, ``trait {trait} or {trait}``."""
    return "".join(
        literal + ("" if word is None else joint.join([f"{{{word}}}"] * 2) if joint else f"{{{word}}}")
        for literal, word, joint, _ in Formatter().parse(code)
    )
