"""The log behind ``docs/operating/ledger.nslog``: an hour of a small cloud in which Placement's API writes.

``python -m tests.nova_sched.cli.documented_ledger`` writes the file again.
"""

import sys
from pathlib import Path

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
from tests.nova_sched.replay.ledger_story import by
from tests.nova_sched.replay.logs import Written

FILE = Path(__file__).parents[3] / "docs/operating/ledger.nslog"
DISK = "DISK_GB"


def host_of_agent():
    base = tree("compute-1", inventories=[inventory_of("VCPU", 32), inventory_of("MEMORY_MB", 65536)])
    root = base.providers[0]._replace(aggregates=(uuid_of("rack-1"),))
    return report("compute-1", inventory=base._replace(providers=(root,)))


#: Each is one record. What begins with a name of a producer is not said by the worker of the API.
STORY = [
    ("operator/setup", events.LevelPinned(LEVEL)),
    ("compute_agent/compute-1", host_of_agent()),
    by("1a", created("ceph"), "admin"),
    by("1b", put_inventories("ceph", inventory_of(DISK, 1000, max_unit=500), generation=0), "admin"),
    by("1c", put_traits("ceph", SHARES, generation=1), "admin"),
    by("1d", put_aggregates("ceph", "rack-1", generation=2), "admin"),
    by("2a", created("compute-2"), "nova"),
    by("2b", put_inventories("compute-2", inventory_of("VCPU", 16), inventory_of("MEMORY_MB", 32768)), "nova"),
    ("conductor/cell1", facts_of("compute-2", authority="nova")),
    by(
        "3a", put(consumer_put("volume-1", of("ceph", 400, DISK), generation=None, project="web", kind="VOLUME")), "ada"
    ),
    by(
        "3b",
        put(consumer_put("volume-2", of("ceph", 500, DISK), generation=None, project="db", user="bob", kind="VOLUME")),
        "bob",
    ),
    by(
        "4a",
        put(
            consumer_put(
                "server-1",
                of("compute-2", 4),
                of("compute-2", 8192, "MEMORY_MB"),
                generation=None,
                project="web",
                kind="INSTANCE",
            )
        ),
        "nova",
    ),
    ("scheduler/one", claim("server-2", "compute-1", of("compute-1", 8), of("ceph", 50, DISK))),
    by(
        "5a", put(consumer_put("volume-3", of("ceph", 100, DISK), generation=None, project="web", kind="VOLUME")), "ada"
    ),
    by(
        "5b",
        put(consumer_put("volume-1", of("ceph", 300, DISK), generation=1, project="web", user="ada", kind="VOLUME")),
        "ada",
    ),
    by(
        "5c",
        put(consumer_put("volume-1", of("ceph", 420, DISK), generation=1, project="web", user="ada", kind="VOLUME")),
        "eve",
    ),
    by("6a", put_inventories("ceph", inventory_of(DISK, 1200, max_unit=500), generation=3), "admin"),
    by("6b", put_inventories("ceph", inventory_of(DISK, 1200, max_unit=500), generation=7), "admin"),
    by("7a", put(consumer_put("server-2", of("ceph", 10, DISK))), "eve"),
    by("7b", events.ProviderDeleted(uuid_of("ceph"), "", None), "admin"),
    by("8a", events.AllocationsDropped(uuid_of("volume-2"), "", None), "bob"),
    by("8b", events.TraitCreated("CUSTOM_FAST_DISK", "", None), "admin"),
    ("conductor/cell1", facts_of("compute-3", authority="nova")),
]


def written(url=None) -> Written:
    """The log of the story, at a URL (default: in memory)."""
    log = Written(url=url)
    for said in STORY:
        producer, data = said if type(said[0]) is str and "/" in said[0] else ("placement/worker-1", said)
        log.say(data, by=producer)
    return log


def main() -> int:
    """Write the file."""
    from nova_sched.cli.main import replay

    log = written()
    return replay(["--log", f"cell1={log.log.url}", "--no-cache", "export", "--no-redact", "--force", "-o", str(FILE)])


if __name__ == "__main__":
    sys.exit(main())
