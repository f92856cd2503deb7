"""What filters and weighers cost: whole chains, and each filter and weigher alone, beside nova's own in the same run.

A chain is measured in the steady state of a busy scheduler, in which each decision's claim goes through the log before
the next decision, and cold, with a request of a new shape each time (another amount of disk; "new guest": another
amount of memory of its NUMA nodes, so that no host was ever asked for such a guest). Nova's chain (its filter and
weight handlers) looks at the same hosts as HostState objects that are there already, in a Python that has nova:
NOVA_SCHED_PEER_PYTHON, as `make nova-setup` makes one; without it nova is left out. What nova does before that
(Placement, databases, copies of states) is not counted. Of hosts with NUMA nodes it is given some
(--nova-device-hosts), and what it takes is scaled.

Examples:
  python -m bench chain
  python -m bench chain --rounds 5 --json docs/reference/costs.json
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import time

from bench.busy_cloud import (
    ASK,
    CELLS,
    aggregates_of,
    device_hosts_of,
    facts_of,
    fold,
    hosts_of,
    make_of_hosts,
    numa_of,
    pci_of,
    request_of,
    uuid_of,
    world_of,
)
from nova_sched import filters, weighers
from nova_sched.filters import HostView
from nova_sched.process.tuning import prepare_memory, settle_memory
from nova_sched.selection.chain import FilterChain
from nova_sched.selection.decide import decide
from nova_sched.selection.draw import seed_of
from nova_sched.selection.policy import DEFAULT_FILTERS, DEFAULT_WEIGHERS, Policy
from nova_sched.selection.scope import Scope
from nova_sched.selection.weigh import KeptScores, weigh
from rpc_api import events

ALTERNATES = 2
STEADY, COLD, NEW_GUEST = "steady", "cold", "new guest"
VCPUS = (2, 4, 8)
MEMBERS = 8
#: How often a filter or weigher alone is asked in a turn.
TIMES_MAX = 20
#: Distinct states of the hosts with NUMA nodes and PCI devices.
STATES = (50, 500)
#: Milliseconds at the median of a decision in the steady state.
WANTED_MS = {"default": 0.3, "every cheap one": 1.0, "NUMA and PCI": 5.0}
#: What time is taken by: see --clock.
CLOCK = "wall"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
OPTIONS = {
    "isolated_images": (uuid_of("isolated"),),
    "isolated_hosts": ("host-7",),
    "metrics_weight_setting": (("cpu.percent", -1.0),),
}
#: Nova's is off, or asks the databases of the cells.
NOT_COMPARED = {"ImagePropertiesWeigher"}
NOVA_OPTIONS = [
    ["filter_scheduler", "isolated_images", list(OPTIONS["isolated_images"])],
    ["filter_scheduler", "isolated_hosts", list(OPTIONS["isolated_hosts"])],
    ["metrics", "weight_setting", ["cpu.percent=-1.0"]],
]
GUEST = {"numa": numa_of(), "pci": pci_of(), "extra_specs": {"hw:cpu_policy": "dedicated"}}


def now() -> float:
    """Seconds of the clock that was chosen."""
    return CLOCKS[CLOCK]()


def group(policy, hosts):
    """A group whose members are the first instances of some hosts."""
    busy = [host for host in hosts if host["instances"]][:8]
    return {
        "uuid": uuid_of("group"),
        "policy": policy,
        "members": [host["instances"][0][0] for host in busy],
        "hosts": [host["name"] for host in busy],
    }


def asks_of(hosts) -> dict:
    """For each filter and weigher what is asked so that it has something to do; for others a plain request will do."""
    query = json.dumps(
        ["and", [">=", "$free_ram_mb", 1024], ["or", ["<", "$num_instances", 5], ["=", "$hypervisor_type", "QEMU"]]]
    )
    instance = next(host["instances"][0][0] for host in hosts if host["instances"])
    return {
        "DestinationFilter": {"ignore": [host["name"] for host in hosts[:3]]},
        "AvailabilityZoneFilter": {"availability_zone": "east"},
        "ComputeCapabilitiesFilter": {
            "extra_specs": {"capabilities:hypervisor_type": "QEMU", "capabilities:cpu_info:vendor": "AMD"}
        },
        "ImagePropertiesFilter": {"image": {"hw_architecture": "x86_64", "img_hv_type": "kvm"}},
        "ServerGroupAntiAffinityFilter": {"group": group("anti-affinity", hosts)},
        "ServerGroupAffinityFilter": {"group": group("affinity", hosts)},
        "AggregateImagePropertiesIsolation": {"image": {"os_distro": "debian"}},
        "AggregateInstanceExtraSpecsFilter": {"extra_specs": {"ssd": "true"}},
        "DifferentHostFilter": {"hints": {"different_host": [instance]}},
        "SameHostFilter": {"hints": {"same_host": [instance]}},
        "IsolatedHostsFilter": {"image_id": uuid_of("isolated")},
        "JsonFilter": {"hints": {"query": [query]}},
        "SimpleCIDRAffinityFilter": {"hints": {"build_near_host_ip": ["10.0.1.1"], "cidr": ["/17"]}},
        "NUMATopologyFilter": GUEST,
        "PciPassthroughFilter": GUEST,
        "ServerGroupSoftAffinityWeigher": {"group": group("soft-affinity", hosts)},
        "ServerGroupSoftAntiAffinityWeigher": {"group": group("soft-anti-affinity", hosts)},
        "AffinityRoomWeigher": {
            "group": {"uuid": uuid_of("new group"), "policy": "affinity", "members": [], "hosts": []}
        },
        "CrossCellWeigher": {"preferred_cell": CELLS[0]},
        "ImagePropertiesWeigher": {"image": {"os_distro": "debian", "hw_architecture": "x86_64"}},
        "everything": {
            "extra_specs": {"capabilities:hypervisor_type": "QEMU", "ssd": "true"},
            "preferred_cell": CELLS[0],
            "image": {"hw_architecture": "x86_64", "img_hv_type": "kvm", "os_distro": "debian"},
            "hints": {
                "query": [query],
                "different_host": [instance],
                "build_near_host_ip": ["10.0.1.1"],
                "cidr": ["/17"],
            },
            "group": group("soft-anti-affinity", hosts),
        },
    }


class Chain:
    """One chain over one cloud, and what it took so far (ms)."""

    def __init__(self, name, clouds, cloud, ask, policy, state):
        self.name = name
        self.state = state
        self.clouds = clouds
        self.cloud_name = cloud
        self.world = clouds.ours[cloud]
        self.chain = FilterChain(self.world.table, policy)
        self.ask = ask
        self.policy = policy
        self.turns = 0
        self.took = {"filters": [], "weighers": [], "decision": []}
        self.nova = {"filters": [], "weighers": []}
        self.survivors = self.nova_survivors = 0

    def turn(self, decisions) -> None:
        """So many decisions, every other one as a whole and the others in their parts."""
        for _ in range(decisions):
            number = self.turns = self.turns + 1
            request, instance = request_of(number, self._asked(number)), uuid_of(f"{self.name}/{self.state}/{number}")
            if number % 2:
                self._parts(request, instance)
            started = now()
            decision = decide(
                self.world,
                self.chain,
                request,
                instance,
                self.policy,
                seed_of(request.request_id, instance),
                0,
                ALTERNATES,
            )
            took_ms = (now() - started) * 1e3
            if not number % 2:
                self.took["decision"].append(took_ms)
            self.survivors = decision.survivors
            self.clouds.claim(self.cloud_name, decision.candidates[0], request, instance)

    def _asked(self, number):
        ask = self.ask | {"vcpus": VCPUS[number % len(VCPUS)]}
        if ask["group"]:
            # Each group gets some members more, and not those of the whole run.
            ask["group"] = ask["group"] | {"uuid": uuid_of(f"{self.name}/{self.state}/group {number // MEMBERS}")}
        if self.state == COLD:
            return ask | {"disk_gb": 1 + number}
        return ask | {"numa": numa_of(memory_mb=4 * number)} if self.state == NEW_GUEST else ask

    def _parts(self, request, instance):
        started = now()
        scope = Scope(self.world.table, list(self.world.projections.values()), self.world.in_flight, request, instance)
        filtered = self.chain.run(request, scope)
        between = now()
        weigh(self.world.table, filtered.rows, request, scope, self.policy, filtered.kept)
        ended = now()
        self.took["filters"].append((between - started) * 1e3)
        self.took["weighers"].append((ended - between) * 1e3)

    def nova_turn(self) -> None:
        """Nova's own chain once."""
        names = [
            [name for name in self.policy.enabled_filters if name in self.clouds.novas["filters"]],
            [name for name, multiplier in self.policy.weighers if name in self.clouds.novas["weighers"]],
        ]
        # The multipliers are nova's defaults: its ImagePropertiesWeigher asks the
        # cells' databases with any other than 0.
        answer = self.clouds.nova_chain(self.cloud_name, self.ask, *names)
        for part in self.nova:
            self.nova[part].append(answer[f"{part}_ms"])
        self.nova_survivors = answer["survivors"]

    def result(self) -> dict:
        """Medians."""
        found = {f"{part}_ms": median(took) for part, took in self.took.items()}
        found["p95_ms"] = sorted(self.took["decision"])[int(len(self.took["decision"]) * 0.95)]
        chain_ms = median([sum(one) for one in zip(self.took["filters"], self.took["weighers"], strict=True)])
        found |= {"chain_ms": chain_ms, "survivors": self.survivors}
        if self.nova["filters"]:
            nova_ms = median([sum(one) for one in zip(self.nova["filters"], self.nova["weighers"], strict=True)])
            found |= {
                "nova_filters_ms": median(self.nova["filters"]),
                "nova_weighers_ms": median(self.nova["weighers"]),
                "nova_ms": nova_ms,
                "ratio": nova_ms / chain_ms,
                "nova_survivors": self.nova_survivors,
            }
        return {name: round(value, 4) for name, value in found.items()}


def median(values):
    """The median, 0 where there are no values."""
    return statistics.median(values) if values else 0.0


class Clouds:
    """The clouds by name, for us and for nova, and the logs in which claims come back."""

    def __init__(self, options, peer):
        self.peer = peer
        self.novas = self.ask_nova("names") if peer else {"filters": [], "weighers": []}
        self.hosts, self.ours, self._sequences, self._scales = {}, {}, {}, {}
        for name, hosts in (
            ("plain", hosts_of(options.hosts, options.seed)),
            *((f"{states} states", device_hosts_of(options.hosts, states, options.seed)) for states in STATES),
        ):
            aggregates = aggregates_of(hosts)
            self.hosts[name], self.ours[name] = hosts, world_of(hosts, aggregates)
            if peer:
                some = hosts[: options.nova_device_hosts] if hosts[0]["devices"] else hosts
                self.ask_nova("cloud", name, list(map(facts_of, some)), aggregates, make_of_hosts())
                self._scales[name] = len(hosts) / len(some)

    def nova_chain(self, name, ask, enabled, used):
        """What nova's chain takes for all hosts (ms)."""
        answer = self.ask_nova("chain", name, ask, enabled, used, NOVA_OPTIONS, CLOCK)
        return {part: value * self._scales[name] for part, value in answer.items()}

    def ask_nova(self, *question):
        """Nova's answer."""
        answer = self.peer.ask(*question)
        if "error" in answer:
            raise SystemExit(f"nova could not answer {question[0]}: {answer['error']} {answer['message']}")
        return answer["answer"]

    def claim(self, name, chosen, request, instance) -> None:
        """Put the claim of a decision in flight, and fold it from the log of its cell as a scheduler does."""
        world = self.ours[name]
        claim = events.ClaimProposed(
            instance,
            instance,
            instance,
            request.request_id,
            request.project_id,
            chosen.host,
            chosen.assignment.allocations,
            chosen.rule,
            False,
            chosen.guest,
        )
        world.in_flight.add(claim)
        cell = world.table.cells.values[world.table.cell[chosen.row]]
        sequence = self._sequences[name, cell] = self._sequences.get((name, cell), 0) + 1
        fold(world.projections[cell], [("scheduler/bench", sequence, claim)])
        world.in_flight.remove(claim.claim_uuid)


# --- one filter, one weigher ---------------------------------------------------------------------------------------


def _timed_ms(step, times):
    took = []
    for _ in range(times):
        started = now()
        step()
        took.append((now() - started) * 1e3)
    return took


class Alone:
    """One filter or weigher: over all hosts, and (where what it gave is kept) over a host that was touched."""

    def __init__(self, one, clouds, ask, policy, cloud="plain"):
        self.one = one
        self.clouds = clouds
        self.cloud_name = cloud
        self.ask = ask
        self.policy = policy
        self.world = clouds.ours[cloud]
        self.request = request_of(0, ask)
        self.asked = 0
        self.took = {"all": [], "touched": []}
        self.nova = []

    def _scope(self):
        world = self.world
        return Scope(world.table, list(world.projections.values()), world.in_flight, self.request, uuid_of("new"))

    def _new_request(self):
        """A guest that nobody asked for yet, so that nothing that is already known of a host's state helps."""
        self.asked += 1
        return request_of(
            0, self.ask | {"numa": numa_of(memory_mb=4 * self.asked), "pci": pci_of(alias=f"gpu {self.asked}")}
        )

    def _filter(self, rows):
        table, costly = self.world.table, self.one.costly
        requests = iter([self._new_request() if costly else self.request for _ in range(self.times)])
        of_one_host = filters.OF_ONE_HOST.get(type(self.one))
        if len(rows) == 1 and of_one_host is not None:
            return lambda: of_one_host(table, int(rows[0]), next(requests))
        return lambda: list(self.one.refusals(HostView(table, rows), next(requests), self.policy, self._scope()))

    def _weigh(self, rows):
        policy = Policy(**{**vars(self.policy), "weighers": ((self.one.name, self.one.default_multiplier or 1.0),)})
        if len(rows) > 1:
            return lambda: weigh(self.world.table, rows, self.request, self._scope(), policy)
        table, scope = self.world.table, self._scope()
        kept = KeptScores(table, table.roots(), self.request, policy, scope)

        def renew():
            kept.touch(rows.tolist(), rows.tolist())
            kept.renewed(scope)

        return renew

    def turn(self, times):
        """So many times all hosts, and one."""
        self.times = times = min(times, TIMES_MAX)
        roots = self.world.table.roots()
        step = self._filter if isinstance(self.one, filters.Filter) else self._weigh
        self.took["all"] += _timed_ms(step(roots), times)
        if self.one.static:
            self.took["touched"] += _timed_ms(step(roots[len(roots) // 2 :][:1]), times)

    def nova_turn(self):
        """Nova's filter or weigher of that name, if it has one, over all hosts."""
        kind = "filters" if isinstance(self.one, filters.Filter) else "weighers"
        if self.one.name in self.clouds.novas[kind] and self.one.name not in NOT_COMPARED:
            names = [[self.one.name], []] if kind == "filters" else [[], [self.one.name]]
            self.nova.append(self.clouds.nova_chain(self.cloud_name, self.ask, *names)[f"{kind}_ms"])

    def result(self):
        """Medians: ``all_ms`` of all hosts, ``touched_us`` of one."""
        found = {"all_ms": round(median(self.took["all"]), 4)}
        if self.took["touched"]:
            found["touched_us"] = round(median(self.took["touched"]) * 1e3, 1)
        if self.nova:
            nova_ms = median(self.nova)
            found |= {"nova_ms": round(nova_ms, 2), "ratio": round(nova_ms / median(self.took["all"]), 1)}
        return found


# --- all of it -----------------------------------------------------------------------------------------------------


def cheap_policy() -> Policy:
    """Every filter that is not costly, and every weigher with a multiplier."""
    # The SameHostFilter would leave but one host to weigh.
    names = tuple(name for name, one in filters.BUILT_IN.items() if not one.costly and name != "SameHostFilter")
    return Policy(
        enabled_filters=names,
        weighers=tuple((name, multiplier or 1.0) for name, multiplier in DEFAULT_WEIGHERS),
        **OPTIONS,
    )


def chains_of(clouds):
    """The chains, each in the steady state and cold."""
    asks = asks_of(clouds.hosts["plain"])
    devices = Policy((*DEFAULT_FILTERS, "NUMATopologyFilter", "PciPassthroughFilter"))
    return [
        Chain(name, clouds, cloud, ASK | ask, policy, state)
        for name, cloud, ask, policy in (
            ("default", "plain", {}, Policy()),
            ("default, anti-affinity group", "plain", asks["ServerGroupAntiAffinityFilter"], Policy()),
            ("every cheap one", "plain", asks["everything"], cheap_policy()),
            *((f"NUMA and PCI, {states} states", f"{states} states", GUEST, devices) for states in STATES),
        )
        for state in (STEADY, COLD, NEW_GUEST)
        if state != NEW_GUEST or "numa" in ask
    ]


def alone_of(clouds, table, asks):
    """Each filter or weigher of a table alone."""
    policy = cheap_policy()
    return [
        Alone(
            one,
            clouds,
            ASK | asks.get(name, {}),
            policy,
            f"{STATES[-1]} states" if getattr(one, "costly", False) else "plain",
        )
        for name, one in table.items()
    ]


def measure(options, peer) -> dict:
    """All figures."""
    prepare_memory()
    clouds = Clouds(options, peer)
    asks = asks_of(clouds.hosts["plain"])
    chains = chains_of(clouds)
    alone = {
        "filters": alone_of(clouds, {each.name: each for each in filters.ALWAYS} | filters.BUILT_IN, asks),
        "weighers": alone_of(clouds, weighers.BUILT_IN, asks),
    }
    settle_memory()
    for chain in chains:
        chain.turn(options.decisions)
        chain.took = {part: [] for part in chain.took}
    loads = []
    for number in range(options.rounds):
        for chain in chains:
            chain.turn(options.decisions)
            if peer and chain.state == STEADY and number < options.nova_rounds:
                chain.nova_turn()
        for one in (*alone["filters"], *alone["weighers"]):
            one.turn(options.decisions)
            if peer and number < options.nova_rounds:
                one.nova_turn()
        loads.append(os.getloadavg()[0])
    return {
        "chains": [{"chain": chain.name, "state": chain.state, **chain.result()} for chain in chains],
        **{kind: {one.one.name: one.result() for one in ones} for kind, ones in alone.items()},
        "load": round(statistics.median(loads), 1),
    }


def machine() -> str:
    """Processor, number of cores and Python, which a reader of the figures needs."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}"


def wanted_ms(chain, state) -> str:
    """The time that a chain may take; empty without a limit."""
    found = [
        ms for name, ms in WANTED_MS.items() if chain == name or (name == "NUMA and PCI" and chain.startswith(name))
    ]
    return str(found[0]) if found and state == STEADY else ""


def show(figures) -> None:
    """Print tables: milliseconds at the median, and how many times as long nova takes."""
    print(
        f"{figures['hosts']} hosts; {figures['machine']}; load {figures['load']}; {figures['clock']} time, "
        "medians in ms"
    )
    print(
        f"{'chain':30}{'state':11}{'filters':>9}{'weighers':>9}{'both':>9}{'wanted':>8}{'nova':>9}{'ratio':>8}"
        f"{'decision':>10}{'p95':>9}"
    )
    for one in figures["chains"]:
        nova = f"{one['nova_ms']:9.0f}{one['ratio']:8.0f}" if "nova_ms" in one else f"{'':17}"
        print(
            f"{one['chain']:30}{one['state']:11}{one['filters_ms']:9.3f}{one['weighers_ms']:9.3f}{one['chain_ms']:9.3f}"
            f"{wanted_ms(one['chain'], one['state']):>8}{nova}{one['decision_ms']:10.3f}{one['p95_ms']:9.3f}"
        )
    for kind in ("filters", "weighers"):
        print(f"{kind[:-1] + ' alone':38}{'all hosts':>10}{'one, us':>9}{'nova':>9}{'ratio':>8}")
        for name, one in figures[kind].items():
            touched = f"{one['touched_us']:9.0f}" if "touched_us" in one else f"{'':9}"
            nova = f"{one['nova_ms']:9.1f}{one['ratio']:8.0f}" if "nova_ms" in one else ""
            print(f"{name:38}{one['all_ms']:10.3f}{touched}{nova}")


def open_peer():
    """Nova in a Python of its own; None without one."""
    from tests.against_nova.conftest import PEER_PYTHON, Peer

    python = os.environ.get(PEER_PYTHON)
    if not python or not shutil.which(python):
        print(f"without nova: {PEER_PYTHON} names no interpreter (make nova-setup makes one)")
        return None
    return Peer(python, pathlib.Path(__file__).parent / "nova_chain.py")


def main(argv=None):
    """Print the tables and a JSON line, which --json writes to a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each chain, filter and weigher")
    parser.add_argument("--nova-rounds", type=int, default=3, help="how many of them have a turn of nova's after them")
    parser.add_argument("--decisions", type=int, default=60, help="decisions of a turn")
    parser.add_argument(
        "--nova-device-hosts", type=int, default=500, help="hosts with NUMA nodes and PCI devices for nova"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="where the figures are written to")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="cpu: processor time, where others use the machine too"
    )
    options = parser.parse_args(argv)
    global CLOCK
    CLOCK = options.clock
    peer = open_peer()
    try:
        found = measure(options, peer)
    finally:
        if peer:
            peer.close()
    figures = {
        "bench": "chain",
        "hosts": options.hosts,
        "seed": options.seed,
        "machine": machine(),
        "clock": options.clock,
        "command": " ".join(["python -m bench chain", *(argv or ())]),
        **found,
    }
    show(figures)
    print(json.dumps(figures))
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
