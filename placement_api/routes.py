"""The routes of the API: one literal table."""

from collections.abc import Callable
from typing import NamedTuple

from placement_api.handlers import (
    aggregates,
    allocation_candidates,
    allocations,
    inventories,
    reshaper,
    resource_classes,
    resource_providers,
    root,
    traits,
    usages,
)
from placement_api.versions import FIRST, Version


class Route(NamedTuple):
    """What answers a method of a path.

    ``since`` is the first microversion that has it; below it the answer is ``missing`` (404, or 405). ``takes_json``:
    the body must be JSON. ``gives_json``: a client that does not accept JSON gets 406. An answer that is not
    ``of_state`` does not look at any log.
    """

    handler: Callable
    since: Version = FIRST
    takes_json: bool = False
    gives_json: bool = False
    missing: int = 404
    of_state: bool = True


#: Path -> method -> Route. A word in braces is an argument of the handler.
ROUTES: dict[str, dict[str, Route]] = {
    "/": {"GET": Route(root.show_versions, of_state=False)},
    "/resource_classes": {
        "GET": Route(resource_classes.list_classes, (1, 2), gives_json=True),
        "POST": Route(resource_classes.create_class, (1, 2), takes_json=True),
    },
    "/resource_classes/{name}": {
        "GET": Route(resource_classes.show_class, (1, 2), gives_json=True),
        "PUT": Route(resource_classes.put_class, (1, 2)),
        "DELETE": Route(resource_classes.delete_class, (1, 2)),
    },
    "/resource_providers": {
        "GET": Route(resource_providers.list_providers, gives_json=True),
        "POST": Route(resource_providers.create_provider, takes_json=True),
    },
    "/resource_providers/{uuid}": {
        "GET": Route(resource_providers.show_provider, gives_json=True),
        "PUT": Route(resource_providers.update_provider, takes_json=True),
        "DELETE": Route(resource_providers.delete_provider),
    },
    "/resource_providers/{uuid}/inventories": {
        "GET": Route(inventories.list_inventories, gives_json=True),
        "POST": Route(inventories.add_inventory, takes_json=True),
        "PUT": Route(inventories.put_inventories, takes_json=True),
        "DELETE": Route(inventories.delete_inventories, (1, 5), missing=405),
    },
    "/resource_providers/{uuid}/inventories/{resource_class}": {
        "GET": Route(inventories.show_inventory, gives_json=True),
        "PUT": Route(inventories.put_inventory, takes_json=True),
        "DELETE": Route(inventories.delete_inventory),
    },
    "/resource_providers/{uuid}/usages": {"GET": Route(usages.list_usages_of_provider, gives_json=True)},
    "/resource_providers/{uuid}/aggregates": {
        "GET": Route(aggregates.list_aggregates, (1, 1), gives_json=True),
        "PUT": Route(aggregates.put_aggregates, (1, 1), takes_json=True),
    },
    "/resource_providers/{uuid}/allocations": {"GET": Route(allocations.list_allocations_of_provider, gives_json=True)},
    "/resource_providers/{uuid}/traits": {
        "GET": Route(traits.list_traits_of_provider, (1, 6), gives_json=True),
        "PUT": Route(traits.put_traits_of_provider, (1, 6), takes_json=True),
        "DELETE": Route(traits.delete_traits_of_provider, (1, 6)),
    },
    "/allocations": {"POST": Route(allocations.post_allocations, (1, 13), takes_json=True)},
    "/allocations/{consumer_uuid}": {
        "GET": Route(allocations.list_allocations, gives_json=True),
        "PUT": Route(allocations.put_allocations, takes_json=True),
        "DELETE": Route(allocations.delete_allocations),
    },
    "/allocation_candidates": {"GET": Route(allocation_candidates.list_candidates, (1, 10), gives_json=True)},
    "/traits": {"GET": Route(traits.list_traits, (1, 6), gives_json=True)},
    "/traits/{name}": {
        "GET": Route(traits.show_trait, (1, 6)),
        "PUT": Route(traits.put_trait, (1, 6)),
        "DELETE": Route(traits.delete_trait, (1, 6)),
    },
    "/usages": {"GET": Route(usages.list_usages, (1, 9), gives_json=True)},
    "/reshaper": {"POST": Route(reshaper.reshape, (1, 30), takes_json=True)},
}


def _split(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/"))


#: Number of words of a path -> (its words, None for an argument; names of the arguments; its methods; the path as in
#: ROUTES).
_BY_LENGTH: dict[int, list[tuple[tuple[str | None, ...], tuple[str, ...], dict[str, Route], str]]] = {}
for _path, _methods in ROUTES.items():
    _words = _split(_path)
    _BY_LENGTH.setdefault(len(_words), []).append(
        (
            tuple(None if word.startswith("{") else word for word in _words),
            tuple(word[1:-1] for word in _words if word.startswith("{")),
            _methods,
            _path,
        )
    )


def find(path: str) -> tuple[dict[str, Route], dict[str, str], str] | None:
    """The methods of a path, the arguments in it, and the path as in :data:`ROUTES`; None for an unknown path."""
    if path in ("", "/"):
        return ROUTES["/"], {}, "/"
    if not path.startswith("/"):
        return None
    words = tuple(path[1:].split("/"))
    for pattern, names, methods, route in _BY_LENGTH.get(len(words), ()):
        arguments = []
        for wanted, word in zip(pattern, words, strict=True):
            if wanted is None and word:
                arguments.append(word)
            elif wanted != word:
                break
        else:
            return methods, dict(zip(names, arguments, strict=True)), route
    return None
