"""The one error tree of the project.

Every error that a user can meet is a :class:`NovaSchedError`. It says in one
sentence what happened, what was found and what was wanted, and where to mend
it; it carries the exit code with which a command ends.

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
    """Base of the tree: a command that meets one prints it and exits with ``exit_code``."""

    exit_code = EXIT_NEGATIVE


class UsageError(NovaSchedError):
    """An option, an argument, a configuration value or an input file is wrong."""

    exit_code = EXIT_USAGE


class NameTaken(NovaSchedError):
    """Another process speaks under the name of this one, which is not heard any more."""

    exit_code = EXIT_USAGE


class LogUnavailable(NovaSchedError):
    """The broker or the log file cannot be reached, or refuses us."""

    exit_code = EXIT_UNREACHABLE


class LogRefused(LogUnavailable):
    """The log cannot be used before a person changes something: trying again is of no use (see rpc_api.faults)."""


class LogForbidden(LogRefused):
    """The broker does not let our account do that with the log."""


class LogStuck(LogUnavailable):
    """The broker answers, and the log's stream does not work. This may be so for a moment; ``remedy`` says what to do
    when it lasts."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class LogClosed(LogUnavailable):
    """The log was closed by this process while it was in use."""


class LogGone(LogUnavailable):
    """The log was deleted under us: it must be opened again."""


class LogGap(NovaSchedError):
    """The log does not hold what should follow: it was truncated or re-created."""

    exit_code = EXIT_GAP


class PositionTruncated(LogGap):
    """The position asked for lies before the first record that the log still holds."""


class PositionAhead(LogGap):
    """The position asked for lies past the end of the log: the log was re-created."""


class SnapshotMismatch(LogGap):
    """A snapshot does not fit the log that it is to be used with."""


class UnknownSchema(NovaSchedError):
    """A record, an event or a snapshot has a form that this version does not know."""

    exit_code = EXIT_SCHEMA


class InvalidEvent(NovaSchedError):
    """An event or a record cannot be decoded or breaks its schema."""

    exit_code = EXIT_SCHEMA


class TooLarge(InvalidEvent):
    """An event or a record is larger than the limit of the codec."""


class NoHostFound(NovaSchedError):
    """No host can take an instance now. ``summary`` counts the reasons, for the operator; the text is for anybody."""

    def __init__(self, message: str, summary: str = "") -> None:
        super().__init__(message)
        self.summary = summary


class CellsUnreachable(NovaSchedError):
    """No host can take an instance now, and hosts that might are in cells whose logs cannot be read or appended to."""

    exit_code = EXIT_UNREACHABLE


class ClaimTimeout(NovaSchedError):
    """A claim was not read back from its log in time, so nobody can say whether it holds."""

    exit_code = EXIT_UNREACHABLE


class PluginFault(NovaSchedError):
    """A class that a deployer brought failed; ``__cause__`` is what it raised."""


class NoSuchServer(NovaSchedError):
    """An RPC call reached no server: what was asked for has not been done."""

    exit_code = EXIT_UNREACHABLE


class NoAnswer(NovaSchedError):
    """No answer to an RPC call came in time: nobody can say whether what was asked for was done, or will be."""

    exit_code = EXIT_UNREACHABLE


class ServiceUnavailable(NovaSchedError):
    """Another service of the cloud that must be asked cannot be reached, refuses us, or answers what makes no sense."""

    exit_code = EXIT_UNREACHABLE
