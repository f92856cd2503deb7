"""The state that fixtures of Placement's API tests prepare, in Placement's database and in our fold beside it.

Run by the peer's own Python beneath :mod:`tests.against_nova.peer_loop`.
"""

import pathlib
import sys
import uuid

from placement import db_api
from placement.objects import allocation, inventory, reshaper, resource_class, resource_provider, trait
from placement.tests.functional.db import test_base
from placement.tests.functional.fixtures import gabbits

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from rpc_api import events
from tests.against_nova import gabbi_tee, ledger_answers
from tests.against_nova.placement_app import state_in
from tests.builders import Cell

cells = []


def _write(conf, event):
    (cell,) = cells
    cell.projection.writes = []
    cell.say(event)
    (written,) = cell.projection.writes
    assert written.reason is None, f"{event} has no effect: {written.reason}"


gabbi_tee.install(_write)


class AllWrites(gabbits.APIFixture):
    """Every write of Placement's objects that is repeated."""

    def start_fixture(self):
        super().start_fixture()
        context = self.context
        user, project = test_base.create_user_and_project(context)
        root, child, lone = (
            test_base.create_provider(context, name, *aggregates, uuid=str(uuid.uuid4()))
            for name, *aggregates in (("root", str(uuid.uuid4())), ("child",), ("lone",))
        )
        child.parent_provider_uuid = root.uuid
        child.save()
        lone.parent_provider_uuid = root.uuid
        lone.save()
        lone.parent_provider_uuid = None
        lone.name = "alone"
        lone.save(allow_reparenting=True)
        root.set_aggregates([str(uuid.uuid4())], increment_generation=True)
        resource_class.ResourceClass(context, name="CUSTOM_KEPT").create()
        gone = resource_class.ResourceClass(context, name="CUSTOM_GONE")
        gone.create()
        gone.destroy()
        root.set_inventory([_inventory(root, "CUSTOM_KEPT", 4), _inventory(root, "VCPU", 8)])
        root.update_inventory(_inventory(root, "VCPU", 16))
        root.delete_inventory("CUSTOM_KEPT")
        child.add_inventory(_inventory(child, "VGPU", 2))
        test_base.set_traits(child, "CUSTOM_FAST", "HW_CPU_X86_AVX")
        slow = trait.Trait(context, name="CUSTOM_SLOW")
        slow.create()
        slow.destroy()
        consumers = [test_base.ensure_consumer(context, user, project) for _ in range(3)]
        for consumer in consumers:
            test_base.set_allocation(context, root, consumer, {"VCPU": 2})
        allocation.delete_all(context, allocation.get_all_by_consumer_id(context, consumers[2].uuid))
        wiped = allocation.get_all_by_consumer_id(context, consumers[1].uuid)
        for one in wiped:
            one.used = 0
        allocation.replace_all(context, wiped)
        # The last write had an object of its own for this provider.
        root = resource_provider.ResourceProvider.get_by_uuid(context, root.uuid)
        moved = allocation.Allocation(resource_provider=child, resource_class="VCPU", consumer=consumers[0], used=2)
        reshaper.reshape(
            context, {root: [], child: [_inventory(child, "VGPU", 2), _inventory(child, "VCPU", 16)]}, [moved]
        )
        lone.destroy()


def _inventory(provider, name, total):
    return inventory.Inventory(resource_provider=provider, resource_class=name, total=total, max_unit=total)


def states(fixture):
    """[the state in Placement's database, the state of our fold] after a fixture has started."""
    cells[:] = [Cell(events.LevelPinned(3))]
    started = globals().get(fixture) or getattr(gabbits, fixture)
    started = started()
    started.start_fixture()
    try:
        theirs = state_in(db_api.placement_context_manager.writer.get_engine())
    finally:
        started.stop_fixture()
    return [theirs, ledger_answers.state_of(cells[0].projection)]


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (states,)
