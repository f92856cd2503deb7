"""What the random comparison with Placement found (``tests/against_nova/test_ledger.py``), one minimal case each."""

from rpc_api import events
from tests.builders import (
    REQUEST,
    Cell,
    consumer_put,
    created,
    facts_of,
    inventory_of,
    of,
    put,
    put_inventories,
    uuid_of,
)

PINNED = events.LevelPinned(3)


def test_a_write_without_a_type_keeps_the_type():
    cell = Cell(PINNED, created("rp"), put_inventories("rp", inventory_of()))
    cell.say(put(consumer_put("vm", of("rp", 1), kind="INSTANCE")))
    cell.say(put(consumer_put("vm", of("rp", 2))))
    holder = cell.projection.holders[uuid_of("vm")]
    assert (holder.consumer_type, holder.generation) == ("INSTANCE", 2)


def test_a_new_consumer_does_not_get_the_type_of_the_one_before():
    cell = Cell(PINNED, created("rp"), put_inventories("rp", inventory_of()))
    cell.say(put(consumer_put("vm", of("rp", 1), kind="INSTANCE")))
    cell.say(put(consumer_put("vm")))
    cell.say(put(consumer_put("vm", of("rp", 1))))
    assert cell.projection.holders[uuid_of("vm")].consumer_type is None


def reason_of(cell, data):
    cell.projection.writes = []
    cell.say(data)
    return cell.projection.writes.pop().reason


def test_a_reshape_names_a_stale_consumer_before_an_unknown_class():
    cell = Cell(PINNED, created("rp"))
    inventories = (events.ProviderInventories(uuid_of("rp"), 0, (inventory_of("CUSTOM_NONE"),)),)
    stale = consumer_put("vm", of("rp", 1, "CUSTOM_NONE"), generation=7)
    elsewhere = consumer_put("vm", of("nowhere", 1), generation=None)
    asked = consumer_put("vm", of("rp", 1, "CUSTOM_NONE"), generation=None)
    found = [
        reason_of(cell, events.Reshaped(inventories, (consumer,), *REQUEST)).code.name
        for consumer in (stale, elsewhere, asked)
    ]
    assert found == ["CONSUMER_GENERATION", "UNKNOWN_PROVIDER", "UNKNOWN_CLASS"]


def test_a_host_gets_its_root_when_the_provider_leaves_its_parent():
    cell = Cell(PINNED, created("above"), facts_of("host", root="rp", authority="nova"), created("rp", "above"))
    assert list(cell.projection.waiting) == [uuid_of("rp")] and not cell.projection.hosts
    cell.say(events.ProviderChanged(uuid_of("rp"), "rp", None, True, *REQUEST))
    assert not cell.projection.waiting
    assert cell.projection.table.row_of_host["host"] == cell.projection.trees[uuid_of("rp")].rows[uuid_of("rp")]


def test_a_host_that_is_removed_does_not_come_back_with_its_root():
    cell = Cell(PINNED, facts_of("host", root="rp", authority="nova"), events.HostRemoved("host", "gone"))
    cell.say(created("rp"))
    assert not cell.projection.waiting and not cell.projection.hosts
