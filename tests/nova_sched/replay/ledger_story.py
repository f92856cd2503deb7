"""A small log with writes of Placement's API: what the tests of the replay tool ask about."""

from nova_sched.projection.topology import SHARES
from rpc_api import events
from rpc_api.levels import LEVEL
from tests.builders import (
    claim,
    consumer_put,
    created,
    facts_of,
    inventory_of,
    of,
    put,
    put_aggregates,
    put_inventories,
    put_traits,
    report,
    tree,
    uuid_of,
)
from tests.nova_sched.replay.logs import Written

DISK = "DISK_GB"


def by(request, data, user="ada"):
    """A write by an API request of a short name."""
    return data._replace(request_id=f"req-{request}", user_id=user)


def host_a(*consumers, disabled=False):
    base = tree("a")
    root = base.providers[0]._replace(aggregates=(uuid_of("agg"),))
    return report("a", *consumers, inventory=base._replace(providers=(root,)), disabled=disabled)


def dropped(name):
    return events.AllocationsDropped(uuid_of(name), "", None)


def at_generation(name, generation, *allocations, **more):
    return put(consumer_put(name, *allocations, generation=generation, **more))


#: Each is the record at its position, counted from 1 (the log is opened at 0); by a conductor where it says so.
STORY = [
    events.LevelPinned(LEVEL),
    host_a(),
    by("pool", created("pool")),
    by("disks", put_inventories("pool", inventory_of(DISK, 100), generation=0)),
    by("share", put_traits("pool", SHARES)),
    by("agg", put_aggregates("pool", "agg", generation=2)),
    by("volume", at_generation("volume", None, of("pool", 40, DISK), kind="VOLUME")),  # 7
    by("large", put(consumer_put("large", of("pool", 70, DISK)))),  # 8: too much
    by("again", at_generation("volume", None, of("pool", 50, DISK))),  # 9: it is there
    by("grow", at_generation("volume", 1, of("pool", 50, DISK), kind="VOLUME"), "bob"),  # 10
    by("shrink", put_inventories("pool", inventory_of(DISK, 60), generation=1)),  # 11: an old generation
    by("root", created("root-b")),
    by("cpus", put_inventories("root-b", inventory_of("VCPU", 4))),
    facts_of("b", root="root-b", authority="nova"),  # 14
    by("vm", put(consumer_put("vm", of("root-b", 2), of("pool", 5, DISK), project="blue", kind="INSTANCE"))),  # 15
    by("names", events.ClassCreated("CUSTOM_X", "", None)),
    by("names", events.TraitCreated("CUSTOM_T", "", None)),
    facts_of("c", root="root-c", authority="nova"),  # 18: it waits
    claim("vm-a", "a", of("a", 1), of("pool", 10, DISK)),  # 19
    by("mine", put(consumer_put("vm-a", of("pool", 1, DISK)))),  # 20: the agent decides
    by("drop", dropped("volume")),  # 21
    by("gone", events.ProviderDeleted(uuid_of("pool"), "", None)),  # 22: in use
    by("rename", events.ProviderChanged(uuid_of("pool"), "lake", None, True, "", None)),
]
BY_CONDUCTOR = (14, 18)


def told(url=None) -> Written:
    """The log of the story, at a URL (default: in memory)."""
    log = Written(url=url)
    for position, data in enumerate(STORY, 1):
        log.say(data, by="conductor/c" if position in BY_CONDUCTOR else None)
    return log
