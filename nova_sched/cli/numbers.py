"""Options that are whole numbers, such as ``--limit``: one check, and one error, for all commands."""

import argparse
import re

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")


class Number(argparse.Action):
    """A whole number, ``least`` or more; any other text is wrong usage."""

    def __init__(self, option_strings, dest, least: int = 1, metavar="N", **more):
        super().__init__(option_strings, dest, metavar=metavar, **more)
        self.least = least

    def __call__(self, parser, namespace, text, option_string=None):
        """Keep the number."""
        if not _NUMBER.fullmatch(text):
            shown = text if len(text) <= 30 else f"{text[:30]}..."
            parser.error(f"{option_string} is {shown!r}, wanted a whole number of {self.least} or more")
        if int(text) < self.least:
            parser.error(f"{option_string} is {int(text)}, wanted {self.least} or more")
        setattr(namespace, self.dest, int(text))


def add_limit(parser, text: str) -> None:
    """Add ``--limit``, with the help ``text``: the number of rows that are shown at most."""
    parser.add_argument("--limit", action=Number, help=text)
