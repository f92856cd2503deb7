"""Why an event is set aside: every code."""

#: The codes of set-aside events: those of the codec, and those of the fold.
CODES = frozenset(
    {
        "undecodable",
        "unknown-format",
        "too-large",
        "unknown-type",
        "newer-version",
        "invalid",
        "foreign-epoch",
        "not-allowed",
        "not-its-account",
        "busy",
        "not-its-authority",
        "not-its-host",
        "not-rebased",
        "wrong-log",
        "lower-level",
        "older-level",
        "newer-level",
    }
)
