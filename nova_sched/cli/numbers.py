"""Options that are numbers, such as ``--limit``: one check, and one error, for all commands."""

import argparse
import math
import re

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class Number(argparse.Action):
    """A whole number, ``least`` or more, and ``most`` at most; any other text is wrong usage."""

    def __init__(self, option_strings, dest, least: int = 1, most: int | None = None, metavar="N", **more):
        super().__init__(option_strings, dest, metavar=metavar, **more)
        self.least = least
        self.most = most

    def __call__(self, parser, namespace, text, option_string=None):
        """Keep the number."""
        # (A default comes here too.)
        name, text = option_string or self.metavar, str(text)
        if not _NUMBER.fullmatch(text):
            parser.error(f"{name} is {_shown(text)}, wanted a whole number of {self._range()}")
        if int(text) < self.least or (self.most is not None and int(text) > self.most):
            parser.error(f"{name} is {int(text)}, wanted {self._range()}")
        setattr(namespace, self.dest, int(text))

    def _range(self):
        return f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"


class Decimal(argparse.Action):
    """A finite number above 0, or also 0 with ``may_be_0``, and ``most`` at most; any other text is wrong usage."""

    def __init__(self, option_strings, dest, may_be_0: bool = False, most: float | None = None, metavar="N", **more):
        super().__init__(option_strings, dest, metavar=metavar, **more)
        self.may_be_0, self.most = may_be_0, most

    def __call__(self, parser, namespace, text, option_string=None):
        """Keep the number."""
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        is_low = number < 0 if self.may_be_0 else number <= 0
        if not math.isfinite(number) or is_low or (self.most is not None and number > self.most):
            least = "of 0 or more" if self.may_be_0 else "above 0"
            most = "" if self.most is None else f" and up to {self.most:,}"
            parser.error(f"{option_string} is {_shown(text)}, wanted a number {least}{most}")
        setattr(namespace, self.dest, number)


def _shown(text):
    return repr(text if len(text) <= 30 else f"{text[:30]}...")


def add_limit(parser, text: str) -> None:
    """Add ``--limit``, with the help ``text``: the number of rows that are shown at most."""
    parser.add_argument("--limit", action=Number, help=text)
