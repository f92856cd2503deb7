"""The smallest cases in which our ledger and Placement 16 differ on purpose.

Defects A to D of Placement are of its allocation candidates: see :mod:`tests.against_nova.candidates_cases`.
"""

from rpc_api import events
from tests.against_nova.ledger_writes import Write
from tests.builders import REQUEST, consumer_put, created, facts_of, inventory_of, of, put, uuid_of

NEW = put(consumer_put("vm", of("rp", 1), generation=None, kind="INSTANCE"))
NOTHING = put(consumer_put("vm", generation=None, kind="INSTANCE"))
INVENTORY = events.InventoriesPut(uuid_of("rp"), 0, "all", (inventory_of(),), *REQUEST)
#: One more is reserved than there is.
NEGATIVE = inventory_of(total=1, reserved=2)
CASES = {
    # Placement keeps the record of a consumer to which nothing was allocated, and then it is not new any more.
    "E: nothing for a new consumer": [Write(created("rp")), Write(INVENTORY), Write(NOTHING), Write(NEW)],
    # The same after a refused write: Placement removes the new record on most errors, and not on this one.
    "F: an unknown provider for a new consumer": [Write(NEW), Write(created("rp")), Write(INVENTORY), Write(NEW)],
    "F: the same in a write of several consumers": [
        Write(NEW, post=True),
        Write(created("rp")),
        Write(INVENTORY),
        Write(NEW, post=True),
    ],
    # All other writes of an inventory with a capacity below 0 are refused.
    "G: a capacity below 0": [
        Write(created("rp")),
        Write(events.InventoriesPut(uuid_of("rp"), 0, "all", (NEGATIVE,), *REQUEST)),
        Write(events.Reshaped((events.ProviderInventories(uuid_of("rp"), 0, (NEGATIVE,)),), (), *REQUEST)),
    ],
    # Placement does not know hosts. Here the compute node of a host must stay the root of its tree.
    "a host under another provider": [
        Write(created("rp")),
        Write(created("above")),
        Write(facts_of("host", root="rp", authority="nova")),
        Write(events.ProviderChanged(uuid_of("rp"), "rp", uuid_of("above"), True, *REQUEST)),
    ],
}
