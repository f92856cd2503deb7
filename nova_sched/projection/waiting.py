"""The hosts that wait for their root provider, by the uuid of the provider and by name."""

from collections.abc import Iterator, MutableMapping

from nova_sched.projection.ledger import Host


class Waiting(MutableMapping[str, Host]):
    """Uuid of a root provider -> the Host that waits for it. Under Nova all hosts of a cell may wait, so a name is
    found without a look at each of them."""

    def __init__(self) -> None:
        self._hosts: dict[str, Host] = {}
        #: Name of a host -> the uuid.
        self._roots: dict[str, str] = {}

    def __getitem__(self, root_uuid: str) -> Host:
        return self._hosts[root_uuid]

    def __setitem__(self, root_uuid: str, host: Host) -> None:
        if root_uuid in self._hosts:
            del self[root_uuid]
        self.leave(host.name)
        self._hosts[root_uuid] = host
        self._roots[host.name] = root_uuid

    def __delitem__(self, root_uuid: str) -> None:
        del self._roots[self._hosts.pop(root_uuid).name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def __len__(self) -> int:
        return len(self._hosts)

    def named(self, name: str) -> Host | None:
        """The host of a name; None if it does not wait."""
        root_uuid = self._roots.get(name)
        return None if root_uuid is None else self._hosts[root_uuid]

    def leave(self, name: str) -> None:
        """Let the host of a name wait no longer, if it does."""
        root_uuid = self._roots.get(name)
        if root_uuid is not None:
            del self[root_uuid]
