"""What columns say of many hosts is what HostState says of each."""

import pytest

from nova_sched.filters import HostView
from nova_sched.hosts import columns as host_columns
from nova_sched.nova_compat.host_state import HostState
from rpc_api import events
from tests.asked import Asked
from tests.builders import claim, consumer, inventory_of, of, provider, report, tree, uuid_of

FLAT = [
    report(
        "a",
        consumer("vm-1", of("a", 2)),
        num_io_ops=2,
        failed_builds=1,
        metrics={"m": 1.5},
        inventory=tree(
            "a",
            host_ip="10.0.0.1",
            stats={"s": "1"},
            supported_instances=(("x86_64", "kvm", "hvm"),),
            inventories=(
                inventory_of("VCPU", 8, 1, ratio=4.0),
                inventory_of("MEMORY_MB", 4096, 512, ratio=1.5),
                inventory_of("DISK_GB", 50),
            ),
        ),
    ),
    report("b", disabled=True, inventory=tree("b", hypervisor_type="xen", hypervisor_version=4, inventories=())),
    report("c"),
    events.AggregateUpdated(uuid_of("x"), "x", ("a", "c", "gone"), {"k": "v"}),
    claim("vm-2", "c", of("c", 3)),
]
NESTED = [
    report(
        f"n{number}",
        inventory=tree(
            f"n{number}",
            *(
                provider(f"n{number}/{child}", inventory_of("VCPU", 4 + child, ratio=2.0), parent=0)
                for child in range(number % 3)
            ),
            inventories=(inventory_of("MEMORY_MB", 1024 * number + 1),),
        ),
    )
    for number in range(20)
]


@pytest.mark.parametrize("said", [FLAT, [*FLAT, *NESTED], NESTED[:2], []])
def test_columns_are_those_of_each_host(said):
    cloud = Asked(*said)
    if said[:1] == FLAT[:1]:
        cloud.in_flight.add(claim("vm-3", "a", of("a", 1)))
    roots = cloud.table.roots()
    for rows in (roots, roots[:2], roots[1:], roots[:0]):
        hosts = HostView(cloud.table, rows)
        states = [HostState(cloud.table, row) for row in rows.tolist()]
        for name in host_columns.NAMES:
            values, codes = host_columns.attribute(hosts, name)
            wanted = [getattr(state, name) for state in states]
            # (Objects of read-only facts are equal to themselves only.)
            assert repr([values[code] for code in codes.tolist()]) == repr(wanted), name
            column = host_columns.numbers(hosts, name)
            if column is not None:
                assert column.tolist() == wanted
                assert [type(one) for one in column.tolist()] == [type(one) for one in wanted]


def test_names_are_novas():
    assert "free_ram_mb" in host_columns.NAMES and "cell" not in host_columns.NAMES
    assert host_columns.attribute(HostView(Asked(*FLAT).table, Asked(*FLAT).table.roots()), "unheard_of") is None
