"""``GET /allocation_candidates`` in process, through all of the application, for many hosts of one provider each.

With a limit and without one, just after claims on some hosts, and on the real Placement over SQLite in memory.

``python -m bench.candidates [--hosts 10000,100000] [--placement 10000]``

The last part needs the environment that ``make nova-setup`` makes, and runs in it.
"""

import argparse
import gc
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench.cloud import uuid_of
from nova_sched.projection.projection import Projection
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from tests.placement_api.in_process import OurPlacement

QUERY = "resources=VCPU:2,MEMORY_MB:4096,DISK_GB:20&required=HW_CPU_X86_AVX2"
LIMIT = 1000
WHO = ("req-bench", "user")
#: Events of a record.
BATCH = 1000
TRAITS = (
    "COMPUTE_NODE",
    "COMPUTE_VOLUME_MULTI_ATTACH",
    "HW_CPU_X86_AVX2",
    "HW_CPU_X86_SSE42",
    "CUSTOM_GOLD",
    "CUSTOM_A",
)
#: Class -> (total, reserved, greatest allocation, ratio).
INVENTORIES = {"VCPU": (64, 0, 64, 4.0), "MEMORY_MB": (262144, 512, 262144, 1.0), "DISK_GB": (4000, 0, 4000, 1.0)}
ROOT = Path(__file__).resolve().parents[1]
PEER = "NOVA_SCHED_PEER_PYTHON"


class Ours(OurPlacement):
    """Our application over hosts that are providers of the API, in a log in memory."""

    def __init__(self, hosts: int):
        super().__init__()
        self.empty()
        self._fold(hosts)

    def _fold(self, hosts: int) -> None:
        """Fold the events of the hosts at once, without the log between."""
        said = _events(hosts)
        projection: Projection = self.region.new_roots.projection
        with self.region.lock:
            while batch := list(itertools.islice(said, BATCH)):
                record = codec.DecodedRecord(projection.epoch, batch, None, None, LEVEL)
                projection.fold([(projection.position + 1, record)])
                projection.writes = []
            assert len(projection.trees) == hosts, list(projection.quarantine)[:1]

    def get(self, query: str) -> bytes:
        """The body of the answer to a query."""
        status, body = self.raw("GET", f"/allocation_candidates?{query}")
        assert status == 200, body[:500]
        return body

    def use(self, hosts: int) -> None:
        """Change what is used of the first hosts, as claims do."""
        table = self.region.table
        with self.region.lock:
            for row in range(hosts):
                table.take(row, table.classes.get("VCPU"), 1)
                table.plain_touched.touch_use(row)


def _events(hosts: int):
    """The events that make hosts as providers of the API."""
    inventories = tuple(
        events.Inventory(name, total, reserved, 1, most, 1, ratio)
        for name, (total, reserved, most, ratio) in INVENTORIES.items()
    )

    def said():
        yield from (events.TraitCreated(trait, *WHO) for trait in TRAITS if trait.startswith("CUSTOM_"))
        for number in range(hosts):
            uuid = uuid_of(f"host {number}")
            yield events.ProviderCreated(uuid, f"host-{number}", None, *WHO)
            yield events.InventoriesPut(uuid, 0, "all", inventories, *WHO)
            yield events.TraitsPut(uuid, 1, TRAITS, *WHO)

    for sequence, data in enumerate(said(), 1):
        yield codec.make_event(data, "placement/bench", 1, sequence, 1)


def median_ms(function, count: int) -> float:
    """The median of some calls, in ms."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        function()
        took.append(time.perf_counter() - began)
    return round(statistics.median(took) * 1e3, 2)


def measured(hosts: int) -> dict:
    """The figures of our application with some hosts, in ms; ``first`` includes making the summaries."""
    ours = Ours(hosts)
    limited = f"{QUERY}&limit={LIMIT}"
    gc.collect()
    gc.freeze()
    found = {
        "hosts": hosts,
        "limit_first_ms": median_ms(lambda: ours.get(limited), 1),
        "limit_ms": median_ms(lambda: ours.get(limited), 101),
        "all_first_ms": median_ms(lambda: ours.get(QUERY), 1),
        "all_ms": median_ms(lambda: ours.get(QUERY), 11),
    }
    took = []
    for _ in range(21):
        ours.use(100)
        took.append(median_ms(lambda: ours.get(limited), 1))
    found["limit_after_100_claims_ms"] = statistics.median(took)
    whole = ours.get(QUERY)
    found["all_mb"] = round(len(whole) / 1e6, 1)
    assert len(json.loads(ours.get(limited))["allocation_requests"]) == min(LIMIT, hosts)
    assert len(json.loads(whole)["provider_summaries"]) == hosts
    ours.close()
    return found


def placement(hosts: int) -> dict:
    """The figures of the real Placement with some hosts, in ms. Runs in its environment."""
    from tests.against_nova.placement_app import Placement

    real = Placement()
    columns = (
        "resource_provider_id, resource_class_id, total, reserved, min_unit, max_unit, step_size, allocation_ratio"
    )
    for trait in TRAITS:
        if trait.startswith("CUSTOM_"):
            real.call("PUT", f"/traits/{trait}")
    with real.engine.begin() as connection:
        classes = dict(map(tuple, connection.exec_driver_sql("SELECT name, id FROM resource_classes")))
        traits = dict(map(tuple, connection.exec_driver_sql("SELECT name, id FROM traits")))

        def insert(statement, rows):
            connection.exec_driver_sql(statement, list(rows))

        numbers = range(1, hosts + 1)
        insert(
            "INSERT INTO resource_providers (id, uuid, name, generation, root_provider_id) VALUES (?, ?, ?, 2, ?)",
            [(number, uuid_of(f"host {number - 1}"), f"host-{number - 1}", number) for number in numbers],
        )
        insert(
            f"INSERT INTO inventories ({columns}) VALUES (?, ?, ?, ?, 1, ?, 1, ?)",
            [(number, classes[name], *of) for number in numbers for name, of in INVENTORIES.items()],
        )
        insert(
            "INSERT INTO resource_provider_traits (resource_provider_id, trait_id) VALUES (?, ?)",
            [(number, traits[name]) for number in numbers for name in TRAITS],
        )

    def get(query):
        status, answer = real.call("GET", f"/allocation_candidates?{query}")
        assert status == 200, answer
        return answer

    found = {"hosts": hosts, "limit_ms": median_ms(lambda: get(f"{QUERY}&limit={LIMIT}"), 3)}
    found["all_ms"] = median_ms(lambda: get(QUERY), 3)
    assert len(get(QUERY)["provider_summaries"]) == hosts
    return found


def of_placement(hosts: int) -> dict | None:
    """The figures of the real Placement, from its environment; None if there is none."""
    python = os.environ.get(PEER) or str(ROOT / ".venv-nova/bin/python")
    if not Path(python).exists():
        return None
    code = f"import json; from bench import candidates; print(json.dumps(candidates.placement({hosts})))"
    done = subprocess.run(
        [python, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main(argv=None):
    """Measure and print one JSON line for each number of hosts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", default="10000,100000", help="numbers of hosts")
    parser.add_argument("--placement", type=int, default=10000, help="hosts of the real Placement, 0 leaves it out")
    arguments = parser.parse_args(argv)
    for hosts in map(int, arguments.hosts.split(",")):
        print(json.dumps({"benchmark": "candidates", "side": "nova_sched", **measured(hosts)}), flush=True)
    if arguments.placement:
        found = of_placement(arguments.placement) or {"left out": f"no environment of Placement, see {PEER}"}
        print(json.dumps({"benchmark": "candidates", "side": "Placement 16", **found}), flush=True)


if __name__ == "__main__":
    main()
