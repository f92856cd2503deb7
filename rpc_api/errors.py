"""The one error tree of the project.

Every error that a user can meet is a :class:`NovaSchedError`. Its text is one sentence: what happened, what was found
and what was wanted, what to do. It also has the exit code of a command that ends with it.

Exit codes: 0 ok, 1 negative finding, 2 usage, 3 broker or log unreachable,
4 gap or partial data, 5 unknown schema.
"""

EXIT_OK = 0
EXIT_NEGATIVE = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_GAP = 4
EXIT_SCHEMA = 5


class NovaSchedError(Exception):
    """Base of the tree: a command prints it and exits with ``exit_code``."""

    exit_code = EXIT_NEGATIVE


class UsageError(NovaSchedError):
    """An option, an argument, a configuration value or an input file is wrong."""

    exit_code = EXIT_USAGE


class NameTaken(NovaSchedError):
    """Another process publishes under the name of this one, and the events of this one have no effect any more."""

    exit_code = EXIT_USAGE


class LogUnavailable(NovaSchedError):
    """The broker or the log file is unreachable, or refuses access."""

    exit_code = EXIT_UNREACHABLE


class LogRefused(LogUnavailable):
    """The log cannot be used until a person changes something: another attempt would fail too (see rpc_api.faults)."""


class LogForbidden(LogRefused):
    """Our account does not have the permission for this use of the log."""


class LogStuck(LogUnavailable):
    """The broker answers, but the log's stream does not work. This may pass; ``remedy`` says what to do if it lasts."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class LogClosed(LogUnavailable):
    """This process closed the log while it was in use."""


class LogGone(LogUnavailable):
    """There is no log: it was not created yet, or it was deleted while it was in use and must be opened again."""


class LogGap(NovaSchedError):
    """The log does not have the next records: it was truncated or recreated."""

    exit_code = EXIT_GAP


class PositionTruncated(LogGap):
    """The requested position is before the first record of the log."""


class PositionAhead(LogGap):
    """The requested position is after the end of the log: the log was recreated."""


class SnapshotMismatch(LogGap):
    """A snapshot does not fit the log."""


class UnknownSchema(NovaSchedError):
    """A record, an event or a snapshot has a form that this version does not know."""

    exit_code = EXIT_SCHEMA


class InvalidEvent(NovaSchedError):
    """An event or a record cannot be decoded or breaks its schema."""

    exit_code = EXIT_SCHEMA


class TooLarge(InvalidEvent):
    """An event or a record is larger than the limit of the codec."""


class NoHostFound(NovaSchedError):
    """No host can take an instance now. ``summary`` counts the reasons, for the operator; the text may be shown to
    users."""

    def __init__(self, message: str, summary: str = "") -> None:
        super().__init__(message)
        self.summary = summary


class CellsUnreachable(NovaSchedError):
    """No host can take an instance now, but there are cells whose logs cannot be read or appended to; their hosts may
    have room."""

    exit_code = EXIT_UNREACHABLE


class ClaimTimeout(NovaSchedError):
    """A claim was not read back from its log in time, so its outcome is not known."""

    exit_code = EXIT_UNREACHABLE


class PluginFault(NovaSchedError):
    """A class of a deployer failed; ``__cause__`` is its exception."""


class NoSuchServer(NovaSchedError):
    """An RPC call reached no server, so it was not executed."""

    exit_code = EXIT_UNREACHABLE


class NoAnswer(NovaSchedError):
    """An RPC call was not answered in time, so it is not known whether it was or will be executed."""

    exit_code = EXIT_UNREACHABLE


class ServiceUnavailable(NovaSchedError):
    """Another service of the cloud is unreachable, refuses a request, or gives a wrong answer."""

    exit_code = EXIT_UNREACHABLE
