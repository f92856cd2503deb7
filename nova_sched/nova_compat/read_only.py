"""Read-only values under Nova's names for the classes of deployers. A class that writes to one gets an error.

A decision that is made again must have the same result, so a filter must not
change what the next filter sees.
"""

_WHERE = "keep your own data in your class, and answer by its return value"


def _refused(self, *args, **kwargs):
    raise TypeError(f"a value of a host or a request is read-only and cannot be changed; copy it, or {_WHERE}")


class ReadOnlyDict(dict):
    """A dictionary that cannot be changed; its copy is a plain dictionary."""

    __setitem__ = __delitem__ = __ior__ = _refused
    clear = pop = popitem = setdefault = update = _refused

    def __reduce_ex__(self, protocol):
        return dict, (dict(self),)


class ReadOnlyList(list):
    """A list that cannot be changed; its copy is a plain list."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refused
    append = clear = extend = insert = pop = remove = reverse = sort = _refused

    def __reduce_ex__(self, protocol):
        return list, (list(self),)


def refuse_to_set(what: str, name: str):
    """Raise the error for a write to an attribute."""
    raise AttributeError(f"a {what} is read-only, {name!r} cannot be set; {_WHERE}")


class Facts:
    """Read-only attributes of Nova's object of the name ``kind``. Reading another attribute is an error."""

    __slots__ = ("_facts", "_kind")

    def __init__(self, kind: str, **facts):
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_facts", facts)

    def __getattr__(self, name):
        try:
            return self._facts[name]
        except KeyError:
            raise AttributeError(
                f"the {self._kind} of a decision has no {name!r}, which is not recorded; wanted one "
                f"of {', '.join(sorted(self._facts))}"
            ) from None

    def __setattr__(self, name, value):
        refuse_to_set(self._kind, name)

    def __delattr__(self, name):
        refuse_to_set(self._kind, name)

    def __contains__(self, name):
        return name in self._facts

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __repr__(self):
        return f"{self._kind}({', '.join(f'{name}={value!r}' for name, value in self._facts.items())})"

    def obj_attr_is_set(self, name: str) -> bool:
        """Return whether there is such an attribute."""
        return name in self._facts

    def get(self, name: str, default=None):
        """Return an attribute, or ``default``."""
        return self._facts.get(name, default)
