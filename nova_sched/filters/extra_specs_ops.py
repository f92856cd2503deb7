"""The operators with which a flavor's extra specs ask for values."""

import operator


def _numbers(compare):
    return lambda value, words: compare(float(value), float(words[0]))


def _strings(compare):
    return lambda value, words: compare(value, words[0])


def _one_of(value, words):
    # "<or> a <or> b": every second word is the operator again.
    return value in words[::2]


#: Operator -> function of the host's value and the words after the operator.
OPERATORS = {
    "=": _numbers(operator.ge),
    "==": _numbers(operator.eq),
    "!=": _numbers(operator.ne),
    ">=": _numbers(operator.ge),
    "<=": _numbers(operator.le),
    "s==": _strings(operator.eq),
    "s!=": _strings(operator.ne),
    "s<": _strings(operator.lt),
    "s<=": _strings(operator.le),
    "s>": _strings(operator.gt),
    "s>=": _strings(operator.ge),
    "<in>": lambda value, words: words[0] in value,
    "<all-in>": lambda value, words: all(word in value for word in words),
    "<or>": _one_of,
}


def match(value: str, wanted: str) -> bool:
    """Whether a host's value meets what an extra spec wants.

    Without an operator in front the two must be equal. An operator without an operand, and a comparison of numbers
    with something that is not a number, are not met.
    """
    words = wanted.split()
    if not words or words[0] not in OPERATORS:
        return value == wanted
    if len(words) == 1:
        return False
    try:
        return bool(OPERATORS[words[0]](value, words[1:]))
    except ValueError:
        return False
