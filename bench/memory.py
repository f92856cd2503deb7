"""What a projection of many hosts costs in memory: resident size of a fresh process, before and after the fold.

``python -m bench.memory [--hosts N] [--instances N]``
"""

import argparse
import json
import subprocess
import sys


def child(hosts, instances):
    """In a process of its own: fold, and print resident sizes in MB."""
    from bench.cloud import claim, records, reported
    from nova_sched.projection.projection import Projection
    from nova_sched.scheduler import service as scheduler  # noqa: F401  (what a scheduler process has loaded)
    from rpc_api import codec

    before = _resident_mb()
    projection = Projection("cell1")
    names = [f"host-{number}" for number in range(hosts)]
    for start in range(0, hosts, 100):
        for position, payload in records(
            [(f"compute_agent/{name}", 1, reported(name)) for name in names[start : start + 100]],
            projection.position + 1,
        ):
            projection.fold([(position, codec.decode_record(payload))])
    folded = _resident_mb()
    for start in range(0, instances, 100):
        items = [
            ("scheduler/bench", number + 1, claim(number, names[number % hosts]))
            for number in range(start, min(instances, start + 100))
        ]
        for position, payload in records(items, projection.position + 1):
            projection.fold([(position, codec.decode_record(payload))])
    print(
        json.dumps(
            {
                "benchmark": "memory",
                "hosts": hosts,
                "instances": instances,
                "process_mb": before,
                "with_hosts_mb": folded,
                "with_instances_mb": _resident_mb(),
            }
        )
    )


def _resident_mb():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def main(argv=None):
    """Measure in a fresh process and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--instances", type=int, default=100_000)
    arguments = parser.parse_args(argv)
    code = f"from bench.memory import child; child({arguments.hosts}, {arguments.instances})"
    print(
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True
        ).stdout.strip()
    )


if __name__ == "__main__":
    main()
