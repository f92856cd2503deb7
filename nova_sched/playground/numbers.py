"""Types of numbers for the options of commands. A wrong number is an ArgumentTypeError that says what is wanted."""

import argparse


def positive(text: str) -> int:
    """Return a whole number, 1 or more."""
    return _number(text, int, lambda value: value >= 1, "a whole number, 1 or more")


def port(text: str) -> int:
    """Return the number of a port, 0 for any free one."""
    return _number(text, int, lambda value: 0 <= value < 65536, "a port, 0 to 65535")


def share(text: str) -> float:
    """Return a number between 0 and 1."""
    return _number(text, float, lambda value: 0 <= value <= 1, "a number between 0 and 1")


def rate(text: str) -> float:
    """Return a number above 0."""
    return _number(text, float, lambda value: value > 0, "a number above 0")


def seconds(text: str) -> float:
    """Return a number of seconds, 0 or more."""
    return _number(text, float, lambda value: 0 <= value < float("inf"), "a number of seconds")


def _number(text, kind, fits, wanted):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not fits(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
