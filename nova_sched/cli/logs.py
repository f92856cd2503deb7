"""How a command names the logs that it reads."""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path

from nova_sched.selection.catalogue import BUILT_IN
from rpc_api import errors
from rpc_api.log import open_log


def add_arguments(parser) -> None:
    """Add ``--log``, which may be given several times."""
    parser.add_argument("--log", action="append", type=_named, metavar="CELL=URL|DIR", required=True, dest="logs",
                        help="a cell's log, as in cell1=sqlite:///log.cell1.db (once for each cell), or the output "
                             "directory of a play")


def _named(text):
    cell, found, url = text.partition("=")
    if found and "://" not in cell:
        return {cell: url}
    if Path(text).is_dir():
        return _of_play(Path(text))
    raise argparse.ArgumentTypeError(f"{text!r} is neither CELL=URL nor the output directory of a play")


def _of_play(directory):
    try:
        urls = json.loads((directory / "summary.json").read_text())["logs"]
        if any(":***@" in url for url in urls.values()):
            raise argparse.ArgumentTypeError(
                f"the logs of {directory} are on a broker, and its password is not kept there; name them as "
                + " ".join(f"--log {cell}={url}" for cell, url in sorted(urls.items())))
        return urls
    except (OSError, ValueError, KeyError):
        raise argparse.ArgumentTypeError(f"{directory} holds no summary.json of a play that names its logs") from None


class Logs:
    """The logs of a command's arguments, opened for reading only; a context manager that gives cell -> EventLog."""

    def __init__(self, arguments):
        self.urls = {}
        for named in arguments.logs:
            self.urls.update(named)
        self._stack = ExitStack()

    def __enter__(self):
        try:
            return {cell: self._stack.enter_context(open_log(url, create=False)) for cell, url in self.urls.items()}
        except errors.NovaSchedError:
            self._stack.close()
            raise

    def __exit__(self, *exc):
        self._stack.close()
