"""The language of the JsonFilter's queries: read once for a request, evaluated for all hosts at once.

A value is one of four kinds: :class:`Constant` (the same for all hosts), an array (a number, or true or false, for each
host), an Attribute (a value of any type for each host, by its distinct values), and what ``not`` answers.
"""

import json
import operator
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np

from nova_sched.hosts.columns import Attribute, attribute, numbers
from rpc_api import errors
from rpc_api.wording import number_of

MAX_CHARACTERS = 16 * 1024
MAX_OPERATORS = 64
MAX_DEPTH = 32
COMPARISONS = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "in": operator.eq,
}
#: Whole numbers up to this are what they are as floats too.
MAX_EXACT = 2**53
OPERATORS = (*COMPARISONS, "not", "or", "and")


class Constant(NamedTuple):
    """A value in the query itself."""

    value: object


class Variable(NamedTuple):
    """``$name.key.key``: an attribute and the keys into it."""

    path: tuple


class Term(NamedTuple):
    """An operator and what it is applied to: Constant, Variable or Term."""

    operator: str
    arguments: tuple


class _Negated(NamedTuple):
    """What ``not`` answers: a list for each host. ``answers`` are boolean arrays, ``present`` which hosts have each."""

    answers: list
    present: list


# --- reading ---------------------------------------------------------------------------------------------------------


@lru_cache(256)
def parsed(texts) -> Term | None:
    """The query of the values of a hint; None if they ask for nothing. UsageError if they are not a query."""
    if texts in ((), ("",)):
        return None
    if len(texts) > 1:
        raise _fault(texts[0], f"it is given {number_of(len(texts), 'time')}, wanted once")
    if len(texts[0]) > MAX_CHARACTERS:
        raise _fault(texts[0], f"it has {len(texts[0])} characters, wanted at most {MAX_CHARACTERS}")
    try:
        query = json.loads(texts[0])
    except (ValueError, RecursionError) as broken:
        raise _fault(texts[0], f"it is not JSON ({str(broken)[:80]})") from None
    return _Reader(texts[0]).term(query, 1) if query else None


def _fault(text, what):
    return errors.UsageError(f"the hint query {text[:200]!r} cannot be used: {what}; fix it")


def _shown(value):
    """A value in a message; of a value that may be deep, its kind."""
    return {dict: "an object", list: "a list"}.get(type(value)) or json.dumps(value)[:80]


class _Reader:
    def __init__(self, text):
        self.text = text
        self.operators = 0

    def term(self, query, depth) -> Term:
        if not isinstance(query, list):
            raise _fault(self.text, f"wanted a list of an operator and values, got {_shown(query)}")
        name = query[0]
        if not isinstance(name, str) or name not in OPERATORS:
            raise _fault(self.text, f"{_shown(name)} is not an operator, wanted one of {' '.join(OPERATORS)}")
        self.operators += 1
        if self.operators > MAX_OPERATORS or depth > MAX_DEPTH:
            raise _fault(self.text, f"wanted at most {MAX_OPERATORS} operators, {MAX_DEPTH} of them inside each other")
        arguments = (self._argument(argument, depth) for argument in query[1:])
        return Term(name, tuple(argument for argument in arguments if argument is not None))

    def _argument(self, argument, depth):
        """None for an argument that is left out."""
        if isinstance(argument, list):
            return self.term(argument, depth + 1) if argument else Constant(True)
        if isinstance(argument, str) and argument.startswith("$"):
            return Variable(tuple(argument[1:].split(".")))
        return None if argument is None or argument == "" else Constant(argument)


def names_in(part) -> set[str]:
    """The attributes that a query, or a part of one, looks at."""
    if isinstance(part, Variable):
        return {part.path[0]}
    return set().union(*map(names_in, part.arguments)) if isinstance(part, Term) else set()


# --- evaluating ------------------------------------------------------------------------------------------------------


def evaluate(query: Term, hosts):
    """(Which hosts meet a query, for which it cannot be evaluated; None for none) as boolean arrays
    over a HostView."""
    evaluation = _Evaluation(hosts)
    met = evaluation.any_of(query) if query.operator == "not" else evaluation.truth(query)[0]
    failed = evaluation.failed
    return (met, None) if failed is None else (met & ~failed, failed)


class _Evaluation:
    """One query over the hosts in view; ``failed`` are those for which something could not be evaluated, None if
    there are none."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.failed = None

    def _fail(self, values, codes):
        """Note for which values, and so for which hosts, something cannot be evaluated."""
        if any(values):
            failed = np.array(values, bool)[codes]
            self.failed = failed if self.failed is None else self.failed | failed

    def any_of(self, term):
        """Where one of the answers of a ``not`` is true."""
        negated = self._negated(term)
        met = self._all(False)
        for answer, present in zip(*negated, strict=True):
            met |= answer & present
        return met

    def _present(self, absent):
        return self._all(True) if absent is None else ~absent

    def truth(self, part):
        """(Where a part is true in Python's sense, where it is missing; None if it is missing nowhere)."""
        value = self._value(part)
        if isinstance(value, Constant):
            return self._all(bool(value.value)), None
        if isinstance(value, Attribute):
            absent = np.array([each is None for each in value.values], bool)
            true = np.array([bool(each) for each in value.values], bool)
            return true[value.codes], absent[value.codes]
        if isinstance(value, _Negated):
            return self._some(value.present), None
        return value if value.dtype == bool else value != 0, None

    def _value(self, part):
        if isinstance(part, Constant):
            return part
        if isinstance(part, Variable):
            return self._variable(part.path)
        if part.operator == "not":
            return self._negated(part)
        if part.operator in COMPARISONS:
            return self._compared(part)
        truths = [self.truth(argument) for argument in part.arguments]
        if part.operator == "or":
            return self._some([true for true, _ in truths])
        hold = [true if absent is None else true | absent for true, absent in truths]
        return reduce(operator.and_, hold) if hold else self._all(True)

    def _negated(self, term):
        truths = [self.truth(argument) for argument in term.arguments]
        return _Negated([~true for true, _ in truths], [self._present(absent) for _, absent in truths])

    def _all(self, value):
        return (np.ones if value else np.zeros)(len(self.hosts), bool)

    def _some(self, arrays):
        """Where one of some boolean arrays is true."""
        return reduce(operator.or_, arrays) if arrays else self._all(False)

    # --- variables ---------------------------------------------------------------------------------------------------

    def _variable(self, path):
        name, keys = path[0], path[1:]
        if name == "metrics" and keys:
            column = self.hosts.metric(".".join(keys))
            missing = np.isnan(column)
            if not missing.any():
                return column
            return Attribute(
                [None if gone else value for value, gone in zip(column.tolist(), missing.tolist(), strict=True)],
                np.arange(len(column)),
            )
        column = None if keys else numbers(self.hosts, name)
        if column is not None:
            return column
        found = attribute(self.hosts, name) or Attribute([None], np.zeros(len(self.hosts), np.int64))
        values, failed = list(found.values), [False] * len(found.values)
        for number, value in enumerate(values):
            for key in keys:
                if value is None:
                    break
                failed[number] |= not isinstance(value, dict)
                value = value.get(key) if isinstance(value, dict) else None
            values[number] = value
        self._fail(failed, found.codes)
        return Attribute(values, found.codes)

    # --- comparisons -------------------------------------------------------------------------------------------------

    def _compared(self, term):
        """Where a comparison holds (boolean array)."""
        values = [self._value(argument) for argument in term.arguments]
        if all([type(value) is np.ndarray or (type(value) is Constant and _is_exact(value.value)) for value in values]):
            return self._compared_numbers(term.operator, values)
        varied = [value for value in values if not isinstance(value, Constant)]
        if not varied:
            codes, rows = np.zeros(len(self.hosts), np.int64), [[value.value for value in values]]
        elif len(varied) == 1 and isinstance(varied[0], Attribute):
            place = next(number for number, value in enumerate(values) if value is varied[0])
            before, after = [each.value for each in values[:place]], [each.value for each in values[place + 1 :]]
            codes, rows = varied[0].codes, ([*before, *_there([each]), *after] for each in varied[0].values)
        else:
            codes, rows = np.arange(len(self.hosts)), map(_there, zip(*map(self._of_each, values), strict=True))
        answers = [_compare(term.operator, row) for row in rows]
        if None in answers:
            self._fail([answer is None for answer in answers], codes)
        return np.array(answers, bool)[codes]

    def _compared_numbers(self, name, values):
        if len(values) < 2:
            return self._all(False)
        first, *others = [value.value if isinstance(value, Constant) else value for value in values]
        holds = [COMPARISONS[name](first, other) for other in others]
        found = reduce(operator.or_ if name == "in" else operator.and_, holds)
        return found if isinstance(found, np.ndarray) else self._all(found)

    def _of_each(self, value):
        """The value of each host as Python has it."""
        if isinstance(value, Constant):
            return [value.value] * len(self.hosts)
        if isinstance(value, Attribute):
            return [value.values[code] for code in value.codes.tolist()]
        if isinstance(value, _Negated):
            answers = [zip(answer.tolist(), there.tolist(), strict=True) for answer, there in zip(*value, strict=True)]
            return [[answer for answer, there in row if there] for row in zip(*answers, strict=True)] or [[]] * len(
                self.hosts
            )
        return value.tolist()


def _is_exact(value):
    """Whether NumPy compares a constant with numbers as Python does."""
    # Larger ones are rounded or refused; NaN is in a list that has this very NaN.
    return isinstance(value, (int, float)) and (-MAX_EXACT <= value <= MAX_EXACT or value in (np.inf, -np.inf))


def _there(values):
    """Without those that a host does not have."""
    return [value for value in values if value is not None]


def _compare(name, values):
    """Whether a comparison holds; None if it makes no sense."""
    if len(values) < 2:
        return False
    first, others = values[0], values[1:]
    try:
        return first in others if name == "in" else all([COMPARISONS[name](first, other) for other in others])
    except (TypeError, RecursionError):
        return None
