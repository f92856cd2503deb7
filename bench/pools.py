"""What pools cost: decisions after claims on shared storage of all hosts, beside decisions where each has a disk.

``python -m bench pools [--hosts N] [--decisions N] [--pools N]``. The clouds are in one process, and decide in turns:
one with own disks, one with one pool for all hosts, and one whose hosts are divided among several pools.
"""

import argparse
import json
import statistics
import time
import uuid

from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.projection import Projection
from nova_sched.projection.topology import SHARES
from nova_sched.projection.world import World
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import claim_of, decide
from nova_sched.selection.draw import seed_of
from nova_sched.selection.policy import Policy
from rpc_api import codec, digest, events, levels
from rpc_api.packing import pack

WARM_UP = 50
DISK_GB = 100_000
REQUEST = ("req-bench", None)
FLAVORS = ((2, 4096, 20), (4, 8192, 40), (8, 16384, 80))


def uuid_of(name):
    """The uuid of a name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def inventory(resource_class, total):
    """An inventory without limits of its units."""
    return events.Inventory(resource_class, total, 0, 1, total, 1, 1.0)


class Cloud:
    """A cloud of equal hosts, with some pools for them or a disk in each, and the claims that it decides."""

    def __init__(self, hosts, pools):
        self._projection = Projection("cell1")
        self._world = World(self._projection.table, {"cell1": self._projection}, InFlight(self._projection.table))
        self._chain = FilterChain(self._projection.table, Policy())
        self._sequences = {}
        self._say("operator/bench", events.LevelPinned(levels.LEVEL))
        for number in range(pools):
            name, large = f"pool-{number}", 2**31 - 1
            pool, disk = uuid_of(name), inventory("DISK_GB", large)
            self._say("placement/bench", events.ProviderCreated(pool, name, None, *REQUEST))
            self._say("placement/bench", events.InventoriesPut(pool, None, "all", (disk,), *REQUEST))
            self._say("placement/bench", events.TraitsPut(pool, None, (SHARES,), *REQUEST))
            self._say("placement/bench", events.AggregatesPut(pool, None, (uuid_of(f"agg-{number}"),), *REQUEST))
        for number in range(hosts):
            name = f"host-{number}"
            amounts = [inventory("VCPU", 64), inventory("MEMORY_MB", 262144)]
            root = events.Provider(
                uuid_of(name),
                name,
                -1,
                tuple(amounts if pools else [*amounts, inventory("DISK_GB", DISK_GB)]),
                ("COMPUTE_NODE",),
                (uuid_of(f"agg-{number % pools}"),) if pools else (),
            )
            tree = events.HostInventory(name, None, None, "QEMU", 9000000, "{}", (), {}, (root,))
            self._say(
                f"compute_agent/{name}",
                events.HostReported(
                    name,
                    name,
                    levels.pack_oldest(tree),
                    events.HostStatus(False, None, False, 0, 0, {}),
                    pack(events.HostConsumers(())),
                    digest.consumers_digest(()),
                ),
            )

    def _say(self, producer, data):
        sequence = self._sequences[producer] = self._sequences.get(producer, 0) + 1
        record = codec.DecodedRecord(
            "epoch", [codec.make_event(data, producer, 1, sequence, 0)], None, None, levels.LEVEL
        )
        if self._projection.position < 0:
            record = record._replace(level=1)
        outcomes, _ = self._projection.fold([(self._projection.position + 1, record)])
        if self._projection.quarantine:
            raise SystemExit(f"set aside: {self._projection.quarantine[0]}")
        return outcomes

    def decide(self, number):
        """Decide one request, and claim; returns the seconds of the decision."""
        vcpus, memory_mb, disk_gb = FLAVORS[number % len(FLAVORS)]
        group = events.ResourceGroup(
            "",
            (
                events.ResourceAmount("DISK_GB", disk_gb),
                events.ResourceAmount("MEMORY_MB", memory_mb),
                events.ResourceAmount("VCPU", vcpus),
            ),
            (),
            (),
            (),
            (),
            (),
            None,
        )
        request = _request(f"req-{number}", group)
        instance = uuid_of(f"instance-{number}")
        seed = seed_of(request.request_id, instance)
        started = time.process_time()
        decision = decide(self._world, self._chain, request, instance, Policy(), seed, 0, 2)
        seconds = time.process_time() - started
        claim = claim_of(uuid_of(f"claim-{number}"), instance, request, decision.candidates[0])
        (outcome,) = self._say("scheduler/bench", claim)
        if outcome.reason is not None:
            raise SystemExit(f"refused: {outcome.reason}")
        return seconds


def _request(request_id, group):
    names = events.SchedulingRequest._fields
    values = dict.fromkeys(names)
    values |= dict.fromkeys(
        ("same_subtree", "root_required", "root_forbidden", "force_hosts", "force_nodes", "ignore_hosts", "pci"), ()
    )
    values |= {"extra_specs": {}, "image_properties": {}, "scheduler_hints": {}, "fallback_groups": ()}
    values |= {
        "request_id": request_id,
        "flavor_name": "m1",
        "groups": (group,),
        "group_policy": "",
        "check_only": False,
    }
    values |= dict.fromkeys(("vcpus", "memory_mb", "root_gb", "ephemeral_gb", "swap_mb"), 0)
    values |= {"is_bfv": False, "has_image": False}
    return events.SchedulingRequest(**values)


def main(argv=None):
    """Print the medians, their ratios to that without a pool, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--pools", type=int, default=10, help="how many the cloud with several has")
    arguments = parser.parse_args(argv)
    pools = {"own disks": 0, "one pool": 1, "several pools": arguments.pools}
    clouds = {name: Cloud(arguments.hosts, number) for name, number in pools.items()}
    seconds = {name: [] for name in clouds}
    for number in range(WARM_UP + arguments.decisions):
        for name, cloud in clouds.items():
            took = cloud.decide(number)
            if number >= WARM_UP:
                seconds[name].append(took)
    medians = {name: statistics.median(values) * 1e3 for name, values in seconds.items()}
    ratios = {name: median / medians["own disks"] for name, median in medians.items()}
    print(f"CPU time of a decision, median of {arguments.decisions}:")
    for name, median in medians.items():
        print(f"{name:<13} {median:.3f} ms, ratio {ratios[name]:.2f}")
    print(
        json.dumps(
            {
                "benchmark": "pools",
                "hosts": arguments.hosts,
                "pools": arguments.pools,
                "median_ms": medians,
                "ratios": ratios,
            }
        )
    )


if __name__ == "__main__":
    main()
