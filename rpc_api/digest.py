"""Digests that two processes compare: of the instances of a host, and of its report.

The digest of a set is the sum of its members' hashes, so one change of the set is one step. All are non-negative
integers of 52 bits (msgpack and JSON integers carry them exactly).
"""

from collections.abc import Iterable
from hashlib import blake2b

import msgpack

from rpc_api.events import Allocation, Consumer, HostStatus, PCIPool
from rpc_api.levels import oldest_form
from rpc_api.packing import pack

MASK = 2**52 - 1


def _number(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") & MASK


def consumer_hash(instance_uuid: str, allocations: Iterable[Allocation], guest: bytes | None = None) -> int:
    """Hash of one running instance: its uuid and its use, in any order of its allocations."""
    of = (instance_uuid, sorted(allocations))
    return _number(msgpack.packb(of if guest is None else (*of, guest)))


def consumers_digest(consumers: Iterable[Consumer]) -> int:
    """Digest of all instances that a host runs, in any order."""
    return (
        sum(consumer_hash(consumer.instance_uuid, consumer.allocations, consumer.guest) for consumer in consumers)
        & MASK
    )


def pool_key(pool: PCIPool) -> str:
    """The key of a PCIPool of a host: 16 hex digits over all of its fields except the count."""
    return blake2b(pack(pool._replace(count=0)), digest_size=8).hexdigest()


def inventory_digest(packed: bytes, providers: bytes = b"") -> int:
    """Digest of the packed HostInventory, and of the packed ReportedProviders if they are reported by themselves."""
    return _number(packed + providers)


def host_digest(inventory: int, status: HostStatus, consumers: int) -> int:
    """Digest of a host's whole report from the digest of its inventory, its status and the digest of its consumers."""
    if status.metrics:
        # After the transport all metrics are floats, so they must be floats here.
        status = status._replace(metrics={name: value + 0.0 for name, value in status.metrics.items()})
    return _number(pack((inventory, oldest_form(status), consumers)))
