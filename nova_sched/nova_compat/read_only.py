"""What the classes of a deployer are given: values to read, under nova's names. Whoever writes into one is told so.

A decision must come out the same when it is made again, so nothing that a
filter does may change what the next one sees.
"""

_WHERE = "keep what is yours in the class that decides, and answer by what it returns"


def _refused(self, *args, **kwargs):
    raise TypeError(f"what belongs to a host or a request is read-only, it cannot be changed; copy it, or {_WHERE}")


class ReadOnlyDict(dict):
    """A dictionary that refuses to be changed; a copy of it is a plain one."""

    __setitem__ = __delitem__ = __ior__ = _refused
    clear = pop = popitem = setdefault = update = _refused

    def __reduce_ex__(self, protocol):
        return dict, (dict(self),)


class ReadOnlyList(list):
    """A list that refuses to be changed; a copy of it is a plain one."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refused
    append = clear = extend = insert = pop = remove = reverse = sort = _refused

    def __reduce_ex__(self, protocol):
        return list, (list(self),)


def refuse_to_set(what: str, name: str):
    """Raise the error of an attribute that was written to."""
    raise AttributeError(f"a {what} is read-only, {name!r} cannot be set; {_WHERE}")


class Facts:
    """Attributes to read, as one of nova's objects of the name ``kind`` has them; those that it has not are unset."""

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
        """Whether there is such an attribute."""
        return name in self._facts

    def get(self, name: str, default=None):
        """An attribute, or ``default``."""
        return self._facts.get(name, default)
