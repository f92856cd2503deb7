"""Reading and showing texts that come from elsewhere."""

from rpc_api import errors

#: The byte order mark, as which a text begins that some editors save as UTF-8.
MARK = "\ufeff"


def one_line(text: str) -> str:
    """Return a text for one line of a terminal: characters that cannot be printed (line end, escape) become codes."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )


def decoded(content: bytes, path, otherwise: str = "save it as UTF-8") -> str:
    """Decode the bytes of a file: UTF-8, or UTF-16 as spreadsheets and PowerShell write it, without byte order marks.

    Raise UsageError for other bytes; it names the line and ends with ``otherwise``.
    """
    encoding = "utf-8"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif content[1:2] == b"\0" != content[:1]:
        encoding = "utf-16-le"
    elif content[:1] == b"\0" != content[1:2]:
        encoding = "utf-16-be"
    try:
        # A file that was joined from several has byte order marks in the middle too.
        return content.decode(encoding).replace(MARK, "")
    except UnicodeDecodeError as fault:
        line = content[: fault.start].count(b"\n") + 1
        raise errors.UsageError(
            f"{path}:{line} is not text in {encoding.upper()} (byte 0x{content[fault.start]:02x}); {otherwise}"
        ) from None


def marked_place(path) -> str | None:
    """Return ``path:line`` of the first byte order mark in a file of UTF-8, None without one or for another file."""
    try:
        with open(path, "rb") as file:
            lines = [number for number, line in enumerate(file, 1) if MARK.encode() in line]
    except OSError:
        return None
    return f"{path}:{lines[0]}" if lines else None
