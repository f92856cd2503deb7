"""The digests that a host and the fold compare."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_api import codec, digest, levels
from rpc_api.digest import MASK, consumer_hash, consumers_digest, host_digest, inventory_digest
from rpc_api.levels import LEVEL
from tests import drawn
from tests.builders import Voice, consumer, of, record_of, report, rule, status, tree, uuid_of

ONE = consumer("vm-1", of("host", 1), of("host", 512, "MEMORY_MB"))
TWO = consumer("vm-2", of("host", 2), of("host", 512, "MEMORY_MB"))
THREE = consumer("vm-3")


@pytest.mark.parametrize("order", list(itertools.permutations([ONE, TWO, THREE])))
def test_the_order_of_consumers_does_not_matter(order):
    assert consumers_digest(order) == consumers_digest([ONE, TWO, THREE])


def test_the_order_of_allocations_does_not_matter():
    assert consumers_digest([ONE._replace(allocations=ONE.allocations[::-1])]) == consumers_digest([ONE])


def test_plain_arrays_hash_as_frozen_records_do():
    assert consumer_hash(ONE.instance_uuid, [list(allocation) for allocation in ONE.allocations]) == consumer_hash(
        ONE.instance_uuid, ONE.allocations
    )


def test_nobody_is_zero():
    assert consumers_digest([]) == 0


CHANGES = [
    [ONE],
    [TWO],
    [ONE, TWO, TWO],
    [],
    [ONE, TWO._replace(instance_uuid=uuid_of("vm-4"))],
    [ONE, TWO._replace(allocations=())],
    [ONE, TWO._replace(allocations=(of("host", 3), of("host", 512, "MEMORY_MB")))],
    [ONE, TWO._replace(allocations=(of("other", 2), of("host", 512, "MEMORY_MB")))],
    [ONE, TWO._replace(allocations=(of("host", 2), of("host", 512, "DISK_GB")))],
    [ONE, TWO._replace(guest=b"guest")],
    [ONE._replace(allocations=TWO.allocations), TWO._replace(allocations=ONE.allocations)],
]


def test_each_change_of_what_runs_changes_the_digest():
    digests = [consumers_digest(consumers) for consumers in (*CHANGES, [ONE, TWO])]
    assert len(set(digests)) == len(digests)


def test_the_digest_is_of_what_is_used_and_not_of_whose_it_is():
    assert consumers_digest([ONE._replace(project_id=None, rule=rule())]) == consumers_digest([ONE])


@given(st.lists(drawn.frozen("Consumer"), max_size=4), drawn.frozen("Consumer"))
def test_one_more_is_one_step(consumers, more):
    step = consumer_hash(more.instance_uuid, more.allocations, more.guest)
    assert consumers_digest([*consumers, more]) == (consumers_digest(consumers) + step) & MASK
    assert 0 <= step <= MASK


HOST_CHANGES = [
    (2, status(), 3),
    (1, status(disabled=True), 3),
    (1, status(num_io_ops=1), 3),
    (1, status(), 4),
    (1, status(metrics={"a": 1.0}), 3),
    (1, status(metrics={"a": 2.0}), 3),
    (1, status(metrics={"b": 1.0}), 3),
    (1, status(forced_down=True), 3),
    (1, status(failed_builds=1), 3),
    (3, status(), 1),
]


def test_each_change_of_a_host_changes_its_digest():
    digests = [host_digest(*parts) for parts in (*HOST_CHANGES, (1, status(), 3))]
    assert len(set(digests)) == len(digests)


@given(drawn.frozen("HostStatus"))
def test_the_status_has_the_digest_that_it_has_after_it_travelled(said):
    event = Voice("compute_agent/host").say(report("host")._replace(status=said))
    (read,) = codec.decode_record(record_of(event, level=LEVEL)).events
    assert host_digest(1, read.data.status, 3) == host_digest(1, said, 3)


@pytest.mark.parametrize(
    "one, other", [({"a": 1}, {"a": 1.0}), ({"a": -0.0}, {"a": 0.0}), ({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0})]
)
def test_equal_metrics_have_one_digest(one, other):
    assert host_digest(1, status(metrics=one), 3) == host_digest(1, status(metrics=other), 3)


def test_the_digests_are_these():
    """Pinned: agents and readers of different releases compare them."""
    assert consumers_digest([ONE, TWO]) == PINNED[0]
    assert inventory_digest(levels.pack_oldest(tree("host"))) == PINNED[1]
    assert host_digest(1, status(metrics={"a": 1.0}), 3) == PINNED[2]


PINNED = (4160585714509152, 3387818869930871, 1634472449072600)


def test_a_digest_is_a_natural_number_of_52_bits():
    assert MASK == 2**52 - 1
    assert 0 <= digest.inventory_digest(b"") <= MASK
