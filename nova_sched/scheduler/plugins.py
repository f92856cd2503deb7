"""Filters and weighers of deployers. Only the configuration of a process loads them, when it starts.

A class is named by its path in ``[filter_scheduler] available_filters`` or
``weight_classes``, or by the name of an entry point of the groups
``nova_sched.filters`` and ``nova_sched.weighers``. It has the form of Nova's
classes, or is a :class:`~nova_sched.filters.Filter` or
:class:`~nova_sched.weighers.Weigher` of this project.
"""

import inspect
from importlib import import_module, metadata
from typing import NamedTuple

from nova_sched import filters, weighers
from nova_sched.filters.nova_style import NovaStyleFilter, is_filter
from nova_sched.selection.catalogue import Catalogue
from nova_sched.weighers.nova_style import NovaStyleWeigher, is_weigher
from rpc_api import errors

ALL_FILTERS = "nova.scheduler.filters.all_filters"
ALL_WEIGHERS = "nova.scheduler.weights.all_weighers"


class _Kind(NamedTuple):
    """Filters or weighers: their names, sources, and conditions."""

    noun: str
    option: str
    entry_points: str
    #: Paths that start like this are Nova's own classes: for those the built-in ones are used.
    novas: str
    built_in: dict
    ours: type
    is_novas: object
    adapter: type


_FILTER = _Kind(
    "filter",
    "available_filters",
    "nova_sched.filters",
    "nova.scheduler.filters.",
    filters.BUILT_IN,
    filters.Filter,
    is_filter,
    NovaStyleFilter,
)
_WEIGHER = _Kind(
    "weigher",
    "weight_classes",
    "nova_sched.weighers",
    "nova.scheduler.weights.",
    weighers.BUILT_IN,
    weighers.Weigher,
    is_weigher,
    NovaStyleWeigher,
)


def load(available_filters, enabled_filters, weight_classes):
    """Return (catalogue, names of the weighers to use) for the values of the options; UsageError if one cannot be
    loaded."""
    known = {}
    for path in available_filters:
        known |= filters.BUILT_IN if path == ALL_FILTERS else _at(_FILTER, path, known)
    for name in enabled_filters:
        if name not in known and name not in filters.BUILT_IN:
            known |= _by_entry_point(_FILTER, name)
    used = {}
    for wanted in weight_classes:
        if wanted == ALL_WEIGHERS:
            used |= weighers.BUILT_IN
        elif wanted in weighers.BUILT_IN:
            used[wanted] = weighers.BUILT_IN[wanted]
        elif "." in wanted:
            used |= _at(_WEIGHER, wanted, used)
        else:
            used |= _by_entry_point(_WEIGHER, wanted) or _unknown_weigher(wanted)
    return Catalogue(known, weighers.BUILT_IN | used), tuple(used)


def _unknown_weigher(name):
    raise errors.UsageError(
        f"there is no weigher {name!r}, wanted {ALL_WEIGHERS}, a class path, an entry point of "
        f"{_WEIGHER.entry_points} or some of {', '.join(sorted(weighers.BUILT_IN))}; "
        "fix [filter_scheduler] weight_classes"
    )


def _at(kind, path, known):
    """Return name -> filter or weigher for a path: a class, a module with classes, or a function that returns some."""
    name = path.rpartition(".")[2]
    if path.startswith(kind.novas) and name in kind.built_in:
        return {name: kind.built_in[name]}
    found = {}
    for class_ in _classes(kind, path):
        name = class_.__name__
        if name in kind.built_in:
            raise errors.UsageError(
                f"the class {name} of {path} has the name of a built-in {kind.noun}, but decisions are "
                f"recorded by names; rename the class, or remove it from [filter_scheduler] {kind.option}"
            )
        before = getattr(known.get(name), "made_of", class_)
        if before is not class_:
            raise errors.UsageError(
                f"{path} and {before.__module__} both have a {kind.noun} {name}, wanted one of a "
                f"name; fix [filter_scheduler] {kind.option}"
            )
        found[name] = _made(kind, name, class_, path)
    return found


def _classes(kind, path):
    found = _imported(kind, path)
    if inspect.ismodule(found):
        found = [
            class_
            for name, class_ in sorted(vars(found).items())
            if not name.startswith("_")
            and inspect.isclass(class_)
            and class_.__module__ == found.__name__
            and not inspect.isabstract(class_)
            and _is(kind, class_)
        ]
    elif inspect.isfunction(found):
        found = _answer(kind, path, found)
    else:
        found = [found]
    if not found or not all(inspect.isclass(entry_point) and _is(kind, entry_point) for entry_point in found):
        raise errors.UsageError(
            f"{path} is not a {kind.noun}, a module with one or a function that returns some; "
            f"fix [filter_scheduler] {kind.option}"
        )
    return found


def _is(kind, class_):
    return issubclass(class_, kind.ours) or kind.is_novas(class_)


def _answer(kind, path, function):
    try:
        return list(function())
    except Exception as fault:
        raise _broken(kind, path, fault) from fault


def _imported(kind, path):
    """Return the object of a dotted path: a module, or something in one."""
    module, _, name = path.rpartition(".")
    try:
        try:
            return import_module(path)
        except ModuleNotFoundError as missing:
            # Only if the path itself does not exist; not if a module imports another one that does not exist.
            if not module or missing.name is None or not f"{path}.".startswith(f"{missing.name}."):
                raise
        return getattr(import_module(module), name)
    except Exception as fault:
        # The import of a deployer's module may raise anything.
        raise _broken(kind, path, fault) from fault


def _broken(kind, path, fault):
    return errors.UsageError(
        f"the {kind.noun} {path or repr(path)} cannot be loaded ({type(fault).__name__}: "
        f"{fault}); fix its package, or [filter_scheduler] {kind.option}"
    )


def _by_entry_point(kind, name):
    """Return name -> filter or weigher of the entry point of this name; empty if there is none."""
    found = list(metadata.entry_points(group=kind.entry_points, name=name))
    if len({entry_point.value for entry_point in found}) > 1:
        raise errors.UsageError(
            f"{' and '.join(sorted(entry_point.value for entry_point in found))} are both the entry point {name} "
            f"of {kind.entry_points}, wanted one; uninstall one of their packages"
        )
    if not found:
        return {}
    path = f"{name} ({found[0].value})"
    try:
        loaded = found[0].load()
    except Exception as fault:
        raise _broken(kind, path, fault) from fault
    if not inspect.isclass(loaded) or not _is(kind, loaded):
        raise errors.UsageError(f"the entry point {path} of {kind.entry_points} is not a {kind.noun}; fix its package")
    return {name: _made(kind, name, loaded, path)}


def _made(kind, name, class_, path):
    try:
        made = class_()
        if isinstance(made, kind.ours):
            made.name = name
        else:
            made = kind.adapter(name, made)
    except Exception as fault:
        raise _broken(kind, path, fault) from fault
    made.made_of = class_
    return made
