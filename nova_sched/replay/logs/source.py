"""The logs of a reading command: named by URL, by the output directory of a play, or by an exported file."""

import json
from contextlib import ExitStack
from pathlib import Path

from nova_sched.replay.archive.log import is_archive, open_archive
from rpc_api import errors
from rpc_api.feed.epoch import opening_of
from rpc_api.log import open_log
from rpc_api.log.checks import mask_password

#: The first bytes of an SQLite file.
_SQLITE = b"SQLite format 3\0"


class Source:
    """Logs that are read and never written: ``logs`` is cell -> EventLog, ``down`` is cell -> the NovaSchedError of a
    log that cannot be opened, ``too_new`` is cell -> the UnknownSchema of a log of which this process knows only the
    first part. A context manager.

    Each name is one of: ``CELL=URL``; ``URL`` (the log contains the name of its cell); a file of ``export``, or an
    SQLite log; the output directory of a play. With ``tolerant`` a log that cannot be opened is ``down`` and not an
    error. Raise UsageError for any other name, and LogUnavailable for a log that cannot be opened.
    """

    def __init__(self, names, tolerant: bool = False):
        self.logs = {}
        self.down = {}
        self.too_new = {}
        #: Cell -> URL (without its password) of each log that is ``down``.
        self.urls = {}
        #: Cell -> the same URL with its password.
        self.left_out = {}
        #: Cell -> URL with its password, of each log that was opened by its URL.
        self._opened = {}
        self._stack = ExitStack()
        try:
            for name in names:
                for cell, url in _urls_of(name):
                    self._open(cell, url, tolerant)
        except errors.NovaSchedError:
            self.close()
            raise

    def _open(self, cell, url, tolerant):
        if isinstance(url, Path):
            for found, log in open_archive(url):
                self._take(cell or found, self._stack.enter_context(log))
            return
        try:
            log = self._stack.enter_context(open_log(url, create=False))
            cell = cell or _cell_of(log)
            self._take(cell, log)
            self._opened[cell] = url
        except errors.LogUnavailable as fault:
            if not tolerant or cell is None:
                raise
            if cell in self.logs or cell in self.down:
                raise errors.UsageError(f"the log of {cell} is named twice; name each cell once") from None
            self._note_down(cell, url, fault)

    def _note_down(self, cell, url, fault):
        self.down[cell] = fault
        self.urls[cell] = mask_password(url)
        self.left_out[cell] = url

    def leave_out(self, cell: str, fault: errors.NovaSchedError) -> None:
        """Note that the log of a cell cannot be opened any more. Other threads may be reading ``logs``."""
        url = self._opened.get(cell) or self.logs[cell].url
        self.logs = {other: log for other, log in self.logs.items() if other != cell}
        self._note_down(cell, url, fault)

    def take_back(self, cell: str, log) -> None:
        """Put a log in the place of that of a cell, which may have been left out. Other threads may be reading
        ``logs``."""
        self.logs = {**self.logs, cell: log}
        for noted in (self.down, self.urls, self.left_out):
            noted.pop(cell, None)

    def _take(self, cell, log):
        if cell in self.logs or cell in self.down:
            raise errors.UsageError(
                f"the log of {cell} is named twice, the second time as {log.url}; name each cell once"
            )
        self.logs[cell] = log

    @property
    def faults(self) -> list[errors.LogGap]:
        """The faults of exported files as a whole, each once."""
        return list({str(fault): fault for log in self.logs.values() for fault in getattr(log, "faults", ())}.values())

    def folded(self, projection) -> None:
        """Note whether the state that a command folded is that of the log: who folds a log calls this at its end."""
        if projection.is_too_new:
            self.too_new[projection.cell] = projection.unknown_level()

    def close(self) -> None:
        """Close all logs."""
        self._stack.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def one(self, cell: str | None, what: str):
        """Return (cell, log) of a cell, by default of the only cell except cell0; UsageError if that is not clear.
        ``what`` is the option or argument that needs the cell."""
        if cell is None:
            cells = [log for log in self.logs if log != "cell0"] or list(self.logs)
            if len(cells) != 1:
                raise errors.UsageError(
                    f"{what} needs the name of a cell, as there are "
                    f"{', '.join(sorted(self.logs))}; write it as CELL:POSITION"
                )
            cell = cells[0]
        if cell in self.down:
            raise self.down[cell]
        if cell not in self.logs:
            raise errors.UsageError(
                f"there is no log of {cell!r} among {', '.join(sorted(self.logs))}; fix the "
                "cell's name, or name its log with --log"
            )
        return cell, self.logs[cell]


def _urls_of(name):
    """Give (cell or None, URL or Path of an exported file) for a name."""
    if name.count("://") > 1 and len(name.split()) > 1:
        raise errors.UsageError("one --log names several logs, with blanks between them; give --log once for each")
    cell, found, url = name.partition("=")
    if found and "://" not in cell:
        return [(cell, _path_or_url(url))]
    if "://" not in name and Path(name).is_dir():
        return _of_play(Path(name))
    return [(None, _path_or_url(name))]


def _path_or_url(text):
    if "://" in text:
        return text
    path = Path(text)
    try:
        with open(path, "rb") as file:
            begin = file.read(len(_SQLITE))
    except OSError as fault:
        raise errors.UsageError(
            f"{mask_password(text)!r} is not the URL of a log, and cannot be read as a file "
            f"({fault.strerror}); wanted CELL=URL, URL, a file of nova-sched-replay export, "
            "or the output directory of a play"
        ) from None
    if begin == _SQLITE:
        return f"sqlite:///{path.resolve()}"
    if is_archive(path):
        return path
    raise errors.UsageError(f"{text} is neither an exported log nor an SQLite log; name another file")


def _of_play(directory):
    try:
        urls = json.loads((directory / "summary.json").read_text())["logs"]
        hidden = [url for url in urls.values() if ":***@" in url]
        named = [(cell, url) for cell, url in sorted(urls.items())]
    except PermissionError as fault:
        raise errors.UsageError(
            f"{directory}/summary.json cannot be read ({fault.strerror}); run the command as a user who may read it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise errors.UsageError(
            f"{directory} has no summary.json of a play with the URLs of its logs; name another "
            "directory, or the logs by their URLs"
        ) from None
    if hidden:
        raise errors.UsageError(
            f"the logs of {directory} are on a broker, and its password is not kept "
            "there; name them as " + " ".join(f"--log {cell}={url}" for cell, url in named)
        )
    return [(cell, _beside(directory, url)) for cell, url in named]


def _beside(directory, url):
    """Return the URL of a log of a play, within the directory if that was moved."""
    path = Path(url.removeprefix("sqlite:///"))
    beside = directory / path.name
    return (
        f"sqlite:///{beside.resolve()}"
        if url.startswith("sqlite:///") and not path.exists() and beside.exists()
        else url
    )


def _cell_of(log):
    opening = opening_of(log)
    if opening is None or opening.cell is None:
        raise errors.UsageError(
            f"the log {log.url} does not contain the name of its cell"
            f"{'' if opening else ', it is empty'}; name it as CELL={log.url}"
        )
    return opening.cell
