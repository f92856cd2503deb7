"""Options that are whole numbers, such as ``--limit``: one check, and one error, for all commands."""

import argparse
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
        if not _NUMBER.fullmatch(text):
            shown = text if len(text) <= 30 else f"{text[:30]}..."
            parser.error(f"{option_string} is {shown!r}, wanted a whole number of {self._range()}")
        if int(text) < self.least or (self.most is not None and int(text) > self.most):
            parser.error(f"{option_string} is {int(text)}, wanted {self._range()}")
        setattr(namespace, self.dest, int(text))

    def _range(self):
        return f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"


def add_limit(parser, text: str) -> None:
    """Add ``--limit``, with the help ``text``: the number of rows that are shown at most."""
    parser.add_argument("--limit", action=Number, help=text)
