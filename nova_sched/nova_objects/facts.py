"""What the log gets of Nova's objects: HostReported facts of a compute node and its service, under the authority of
Nova, and InstancesTracked. The tap and an import (from a cell's database, or Nova's REST API) make them here.

The facts do not change while instances come and go: counters are left out, NUMA nodes are without their use, and PCI
pools have all of their devices. So a host is reported when it changes, and not with each instance.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nova_sched.nova_objects.tables import COUNTERS
from nova_sched.projection.ledger import NOVA
from rpc_api import events
from rpc_api.digest import consumers_digest
from rpc_api.levels import pack_oldest
from rpc_api.packing import pack

#: A host can be reported when these fields of its compute node are known.
NEEDED = ("uuid", "host", "hypervisor_type", "hypervisor_version")
#: Where the table of hosts has the version of nova-compute (projection/topology.py).
SERVICE_VERSION = "service_version"
#: Instances that one event names.
MAX_TRACKED = 500
_NO_CONSUMERS = pack(events.HostConsumers(()))
_NO_CONSUMERS_DIGEST = consumers_digest(())

Fields = Mapping[str, Any]


def is_complete(node: Fields) -> bool:
    """Whether the known fields of a compute node make a report."""
    return all(node.get(name) is not None for name in NEEDED)


def inventory_of(node: Fields, version: str | None, pools: Iterable[events.PCIPool]) -> bytes:
    """The packed HostInventory of a complete compute node; ``version`` is that of its service, None if that is not
    known."""
    stats = {name: text for name, text in node.get("stats", {}).items() if not COUNTERS.fullmatch(name)}
    if version is not None:
        stats[SERVICE_VERSION] = version
    return pack_oldest(
        events.HostInventory(
            node.get("hypervisor_hostname") or node["host"],
            None,
            node.get("host_ip"),
            node["hypervisor_type"],
            node["hypervisor_version"],
            node.get("cpu_info") or "",
            node.get("supported_hv_specs", ()),
            dict(sorted(stats.items())),
            (),
            node.get("numa_topology", ()),
            tuple(pools),
            node["uuid"],
            NOVA,
        )
    )


def status_of(node: Fields, service: Fields, before: events.HostStatus | None) -> events.HostStatus | None:
    """The status of a host. What neither the compute node nor the service gives is as ``before``; None if it is not
    known whether the host is disabled."""
    if before is None and not {"disabled", "forced_down"} <= service.keys():
        return None
    known = before or events.HostStatus(False, None, False, 0, 0, {}, ())
    stats, metrics = node.get("stats"), node.get("metrics")
    return events.HostStatus(
        service.get("disabled", known.disabled),
        service.get("disabled_reason", known.disabled_reason),
        service.get("forced_down", known.forced_down),
        known.num_io_ops if stats is None else _count(stats, "io_workload"),
        known.failed_builds if stats is None else _count(stats, "failed_builds"),
        known.metrics if metrics is None else metrics[0],
        known.numa_metrics if metrics is None else metrics[1],
    )


def report_of(host: str, inventory: bytes, status: events.HostStatus) -> events.HostReported:
    """The report of a host. It lists no consumers: under the authority of Nova the API writes them."""
    return events.HostReported(host, "", inventory, status, _NO_CONSUMERS, _NO_CONSUMERS_DIGEST)


def tracked_events(
    added: Mapping[str, Sequence[events.TrackedInstance]], gone: Mapping[str, Sequence[str]]
) -> list[events.InstancesTracked]:
    """InstancesTracked of the instances that are new on each host, and of those that are gone from there (uuids), in
    parts of MAX_TRACKED."""
    found = []
    for host in {**added, **gone}:
        new, old = added.get(host, ()), gone.get(host, ())
        for start in range(0, max(len(new), len(old)), MAX_TRACKED):
            part = slice(start, start + MAX_TRACKED)
            found.append(events.InstancesTracked(host, tuple(new[part]), tuple(old[part])))
    return found


def _count(stats: Mapping[str, str], name: str) -> int:
    text = stats.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
