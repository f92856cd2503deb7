"""Scenario files: providers, hosts and consumers of a small cloud, requests, and where they are to go.

A file is YAML. ``docs/examples/README.md`` describes its keys, and beside it are examples.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rpc_api import errors

#: Keys of the parts of a file.
TOP = frozenset({"about", "classes", "traits", "hosts", "providers", "consumers", "requests"})
OF_PROVIDER = frozenset({"name", "inventories", "traits", "aggregates", "children"})
OF_INVENTORY = frozenset({"total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio"})
OF_CONSUMER = frozenset({"name", "allocations"})
OF_REQUEST = frozenset({"name", "flavor", "count", "host", "allocations", "refused"})
OF_FLAVOR = frozenset({"vcpus", "ram_mb", "disk_gb", "extra_specs"})
#: A file is written by hand.
MAX_BYTES = 1 << 20


@dataclass
class ProviderPart:
    """A provider with its children. ``inventories`` are class -> the values of its inventory."""

    name: str
    inventories: dict[str, dict[str, float]] = field(default_factory=dict)
    traits: list[str] = field(default_factory=list)
    aggregates: list[str] = field(default_factory=list)
    children: list["ProviderPart"] = field(default_factory=list)


@dataclass
class RequestPart:
    """``count`` requests for one instance of a flavor each. The last one goes to ``host`` (None: to any), with these
    ``allocations`` (provider -> class -> amount; None: any), or is ``refused`` with this text in the reason."""

    name: str
    flavor: dict[str, Any]
    count: int = 1
    host: str | None = None
    allocations: dict[str, dict[str, int]] | None = None
    refused: str | None = None


@dataclass
class Scenario:
    """The content of a file. ``consumers`` are name -> provider -> class -> amount."""

    about: str
    classes: list[str]
    traits: list[str]
    hosts: list[ProviderPart]
    providers: list[ProviderPart]
    consumers: dict[str, dict[str, dict[str, int]]]
    requests: list[RequestPart]


def read_scenario(path: str) -> Scenario:
    """Read a scenario file. Raises UsageError, which names the file and the place, for one that cannot be used."""
    try:
        content = Path(path).read_bytes()[: MAX_BYTES + 1]
        if len(content) > MAX_BYTES:
            raise errors.UsageError(f"{path} has more than {MAX_BYTES} bytes; name a scenario file")
        values = yaml.safe_load(content)
    except OSError as fault:
        raise errors.UsageError(f"{path} cannot be read ({fault.strerror}); name a scenario file") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as broken:
        raise errors.UsageError(f"{path} is not YAML ({_first_line(broken)}); fix the file") from None
    return _Reader(path).scenario(values)


def _first_line(broken):
    return " ".join(str(broken).split())[:200]


class _Reader:
    """Checks each value as it reads it; ``where`` names the place in sentences."""

    def __init__(self, path):
        self._path = path

    def scenario(self, values):
        self._map(values, "the file", TOP)
        consumers = {}
        for each in self._list(values, "consumers", "the file"):
            self._map(each, "a consumer", OF_CONSUMER)
            consumers[self._name(each, "a consumer")] = self._allocations(each.get("allocations"), "a consumer")
        return Scenario(
            about=str(values.get("about", "")).strip(),
            classes=self._names(values, "classes", "the file"),
            traits=self._names(values, "traits", "the file"),
            hosts=[self._provider(each) for each in self._list(values, "hosts", "the file")],
            providers=[self._provider(each) for each in self._list(values, "providers", "the file")],
            consumers=consumers,
            requests=[self._request(each) for each in self._list(values, "requests", "the file")],
        )

    def _provider(self, values):
        self._map(values, "a provider", OF_PROVIDER)
        name = self._name(values, "a provider")
        where = f"provider {name}"
        inventories = values.get("inventories") or {}
        if not isinstance(inventories, dict):
            self._refuse(where, "inventories", "a map of classes")
        return ProviderPart(
            name,
            {str(each): self._inventory(of, f"{each} of {where}") for each, of in inventories.items()},
            self._names(values, "traits", where),
            self._names(values, "aggregates", where),
            [self._provider(each) for each in self._list(values, "children", where)],
        )

    def _inventory(self, values, where):
        if isinstance(values, int) and not isinstance(values, bool):
            return {"total": values}
        self._map(values, where, OF_INVENTORY)
        if any(not isinstance(each, (int, float)) or isinstance(each, bool) for each in values.values()):
            self._refuse(where, "values", "numbers")
        if "total" not in values:
            self._refuse(where, "values", "a total")
        return dict(values)

    def _request(self, values):
        self._map(values, "a request", OF_REQUEST)
        name = self._name(values, "a request")
        where = f"request {name}"
        flavor = values.get("flavor") or {}
        self._map(flavor, f"the flavor of {where}", OF_FLAVOR)
        count = values.get("count", 1)
        if type(count) is not int or not 1 <= count <= 1000:
            self._refuse(where, "count", "a number from 1 to 1000")
        allocations = values.get("allocations")
        return RequestPart(
            name,
            flavor,
            count,
            values.get("host"),
            None if allocations is None else self._allocations(allocations, where),
            values.get("refused"),
        )

    def _allocations(self, values, where):
        if not isinstance(values, dict) or any(not isinstance(of, dict) for of in values.values()):
            self._refuse(where, "allocations", "a map of providers with a map of classes each")
        found = {str(provider): dict(of) for provider, of in values.items()}
        if any(type(amount) is not int or amount < 1 for of in found.values() for amount in of.values()):
            self._refuse(where, "allocations", "amounts of 1 or more")
        return found

    def _map(self, values, where, keys):
        if not isinstance(values, dict):
            self._refuse(where, "content", f"a map with some of {', '.join(sorted(keys))}")
        unknown = sorted(str(key) for key in values.keys() - keys)
        if unknown:
            self._refuse(where, f"key {unknown[0]!r:.40}", f"some of {', '.join(sorted(keys))}")

    def _list(self, values, key, where):
        found = values.get(key) or []
        if not isinstance(found, list):
            self._refuse(where, key, "a list")
        return found

    def _names(self, values, key, where):
        found = self._list(values, key, where)
        if any(not isinstance(each, str) or not each for each in found):
            self._refuse(where, key, "a list of names")
        return found

    def _name(self, values, where):
        name = values.get("name")
        if not isinstance(name, str) or not name:
            self._refuse(where, "name", "a text")
        return name

    def _refuse(self, where, what, wanted):
        raise errors.UsageError(f"{self._path}: {what} of {where} cannot be used, wanted {wanted}; fix the file")
