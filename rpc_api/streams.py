"""The standard streams of a process whose caller has closed one of them, as ``COMMAND >&-`` does."""

import os
import sys


def open_closed() -> None:
    """Give the process a null device for each standard stream that is closed: Python has None there, and libraries
    write to it. The null device also takes the number of the stream, so that no log or database gets it."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
