"""How texts that came from elsewhere are shown."""


def one_line(text: str) -> str:
    """A text as it can stand in a line of a terminal: what is not printable (a line's end, an escape) by its code."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in text)
