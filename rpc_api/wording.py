"""Words of messages that depend on a number."""

#: Ends of nouns that get -es.
_HISSING = ("s", "x", "ch", "sh")


def number_of(count: int, one: str, many: str | None = None, form: str = "d") -> str:
    """A number and what there is of it: ``1 host``, ``2 hosts``, ``0 hosts``.

    ``many`` is the plural where ``one`` does not just get an -s, or where a verb follows: ``number_of(count, "host is
    lost", "hosts are lost")``. ``form`` is that of the number: "," separates thousands.
    """
    return f"{count:{form}} {one if count == 1 else plural(one) if many is None else many}"


def plural(noun: str) -> str:
    """The regular plural of a noun."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_HISSING) else f"{noun}s"
