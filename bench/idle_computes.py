"""What idle nova-computes ask the Placement API, as each of them does it: over one connection that it keeps.

In five minutes a nova-compute asks ten times who holds what of its provider, and after every second time for each of
its instances what that holds; once for its tree, inventories, aggregates and traits (Nova 34, with
update_resources_interval of a minute). 10,000 of them with 10 instances each ask 2,133 times a second.

The service is nova-sched-placement with its own web server and one process, over a RabbitMQ stream. The rate is that
of the computes, so the figures are those of an endpoint that keeps up: CPU of all its processes and its broker, how
much of a core that is, latencies and memory.

``python -m bench idle_computes [--computes N] [--instances N] [--seconds S] [--placement]``

With --placement the same of the real Placement on MariaDB, under waitress with 8 threads. It needs wrk, for Placement
what ``bench placement_api`` needs too.
"""

import argparse
import contextlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from bench.placement_api import HEADERS, PEER, ROOT, THREADS, cpu_seconds, placement_env, running
from rpc_api import codec, events
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import epoch_of
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.placement_api.regions import prepare
from tests.servers import RabbitServer, free_port, wait_until

#: Seconds in which a nova-compute asks for everything once, and how often for its allocations.
ROUND_SECONDS, PERIODS = 300, 5
#: What it asks beside that, and with which microversion.
ONCE = (
    ("/resource_providers?in_tree=%s", "1.14"),
    ("/resource_providers/%s/inventories", "1.0"),
    ("/resource_providers/%s/aggregates", "1.19"),
    ("/resource_providers/%s/traits", "1.6"),
)
EVENTS_PER_RECORD = 100
FULL_SIZE = 10_000

#: wrk's script: each connection is a nova-compute that waits between two requests.
LUA = """
local computes, instances, wait_ms = %(computes)d, %(instances)d, %(wait_ms)f
local steps = {}
for period = 1, %(periods)d do
  for twice = 1, 2 do steps[#steps + 1] = {"/resource_providers/%%s/allocations", "1.0"} end
  for instance = 0, instances - 1 do steps[#steps + 1] = {instance, "1.28"} end
end
%(once)s
local function provider(n) return string.format("00000000-0000-4000-8000-%%012x", n) end
local function consumer(n) return string.format("00000000-0000-4000-9000-%%012x", n) end
local headers = {}
for _, step in ipairs(steps) do
  headers[step[2]] = {["X-Auth-Token"] = "admin", ["OpenStack-API-Version"] = "placement " .. step[2]}
end
local number = 0
-- The computes began at different times.
math.randomseed(1)
delay = function() return math.floor(wait_ms * (0.5 + math.random())) end
request = function()
  number = number + 1
  local compute = number %% computes
  -- Neighbours in time are at different places of their rounds.
  local step = steps[(math.floor(number / computes) + compute * 7) %% #steps + 1]
  local path = step[1]
  if type(path) == "number" then
    path = "/allocations/" .. consumer(compute * instances + path)
  else
    path = string.format(path, provider(compute))
  end
  return wrk.format("GET", path, headers[step[2]])
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('\\nRESULT {"requests": %%d, "failed": %%d, "p50_ms": %%f, "p99_ms": %%f, "seconds": %%f}\\n',
    summary.requests, failed, latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.duration / 1e6))
end
"""


def fill(url: str, computes: int, instances: int) -> None:
    """Write the providers of nova-computes and what their instances hold into a log, without the API."""
    with open_log(url) as log:
        epoch, number = epoch_of(log), 0
        waiting: list[codec.Event] = []

        def put(data):
            nonlocal number
            number += 1
            waiting.append(codec.make_event(data, "placement/bench", 1, number, SYSTEM.now_ns()))
            if len(waiting) == EVENTS_PER_RECORD:
                flush()

        def flush():
            if waiting:
                log.append([codec.encode_record(epoch, waiting, LEVEL)])
                waiting.clear()

        room = [events.Inventory(name, 2**20, 0, 1, 2**20, 1, 1.0) for name in ("VCPU", "MEMORY_MB", "DISK_GB")]
        for compute in range(computes):
            provider = f"00000000-0000-4000-8000-{compute:012x}"
            put(events.ProviderCreated(provider, f"compute-{compute}", None, "req", "user"))
            put(events.InventoriesPut(provider, 0, "all", tuple(room), "req", "user"))
            put(events.TraitsPut(provider, 1, ("HW_CPU_X86_AVX2",), "req", "user"))
            held = tuple(events.Allocation(provider, inventory.resource_class, 1) for inventory in room)
            for instance in range(compute * instances, (compute + 1) * instances):
                consumer = f"00000000-0000-4000-9000-{instance:012x}"
                one = events.ConsumerPut(consumer, True, None, "project", "user", "INSTANCE", held, None)
                put(events.AllocationsPut((one,), "req", "user"))
        flush()


def memory_mb(process: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise SystemExit(f"process {process} has ended")


def ask(url: str, path: str, body=None, method: str = "GET") -> bytes:
    """Send one request."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}{path}", data, HEADERS, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def answers(url: str, process, path: str) -> bool:
    """Whether the service answers."""
    if process.poll() is not None:
        raise SystemExit(f"nova-sched-placement ended with {process.returncode}")
    try:
        return bool(ask(url, path))
    except OSError:
        return False


def load(url: str, computes: int, instances: int, seconds: int, groups) -> dict:
    """Ask as the computes do; returns the figures."""
    per_round = PERIODS * (2 + instances) + len(ONCE)
    script = LUA % {
        "computes": computes,
        "instances": instances,
        "periods": PERIODS,
        "once": "\n".join(
            f'steps[#steps + 1] = {{"{path.replace("%s", "%%s")}", "{version}"}}' for path, version in ONCE
        ).replace("%%s", "%s"),
        "wait_ms": 1000 * ROUND_SECONDS / per_round,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        before = cpu_seconds(groups)
        command = ["wrk", "-t1", f"-c{computes}", f"-d{seconds}s", "--timeout", "30s", "-s", file.name, url]
        ran = subprocess.run(command, capture_output=True, text=True)
        used = cpu_seconds(groups) - before
    if "RESULT " not in ran.stdout:
        raise SystemExit(f"wrk failed: {ran.stdout}{ran.stderr}")
    found = json.loads(ran.stdout.rpartition("RESULT ")[2])
    if found["failed"]:
        raise SystemExit(f"{found['failed']} of {found['requests']} requests failed")
    rate = computes * per_round / ROUND_SECONDS
    cpu_ms = 1000 * used / found["requests"]
    return {
        "computes": computes,
        "wanted_per_s": round(rate, 1),
        "per_s": round(found["requests"] / found["seconds"], 1),
        "cpu_ms": round(cpu_ms, 3),
        "cores": round(used / found["seconds"], 3),
        "cores_of_full_size": round(cpu_ms * rate / computes * FULL_SIZE / 1000, 2),
        "p50_ms": round(found["p50_ms"], 2),
        "p99_ms": round(found["p99_ms"], 2),
    }


def ours(stack, directory, port, computes, instances):
    """nova-sched-placement over a filled RabbitMQ stream; (its process, process group of the broker)."""
    rabbit = stack.enter_context(RabbitServer())
    log = rabbit.url("nova_sched.cell1")
    prepare(log)
    fill(log, computes, instances)
    config, url = directory / "nova_sched.conf", f"http://127.0.0.1:{port}"
    config.write_text(
        f"[cells]\nenabled = cell1\n[cell:cell1]\nuuid = {uuid.uuid4()}\nlog = {log}\n"
        f"[placement_api]\nauth_strategy = noauth2\nother_machines = false\nstate_dir = {directory}/state\n"
        f"bind_host = 127.0.0.1\nbind_port = {port}\nconnections = {computes + 100}\n"
    )
    began = time.monotonic()
    command = [sys.executable, "-m", "placement_api.main", f"--config-file={config}"]
    service = stack.enter_context(running(command, {"PYTHONPATH": str(ROOT)}, ROOT))
    last = f"/allocations/00000000-0000-4000-9000-{computes * instances - 1:012x}"
    wait_until(lambda: answers(url, service, last), 300, "nova-sched-placement does not answer")
    print(f"ready after {time.monotonic() - began:.1f} s, {memory_mb(service.pid):.0f} MB", flush=True)
    return service, rabbit._process.pid


def theirs(stack, directory, port, computes, instances):
    """The real Placement with the same in its MariaDB; (process of its web server, process group of the database)."""
    env, group = placement_env(stack, directory)
    url = f"http://127.0.0.1:{port}"
    command = [
        *(str(PEER), "-W", "ignore", "-m", "waitress", f"--threads={THREADS}", f"--connection-limit={computes + 100}"),
        *(f"--listen=127.0.0.1:{port}", "placement.wsgi.api:application"),
    ]
    service = stack.enter_context(running(command, env))
    wait_until(lambda: answers(url, service, "/"), 60, "Placement does not answer")
    for compute in range(computes):
        provider = f"00000000-0000-4000-8000-{compute:012x}"
        ask(url, "/resource_providers", {"name": f"compute-{compute}", "uuid": provider}, "POST")
        inventories = {name: {"total": 2**20} for name in ("VCPU", "MEMORY_MB", "DISK_GB")}
        of_provider = {"resource_provider_generation": 0, "inventories": inventories}
        ask(url, f"/resource_providers/{provider}/inventories", of_provider, "PUT")
        of_provider = {"resource_provider_generation": 1, "traits": ["HW_CPU_X86_AVX2"]}
        ask(url, f"/resource_providers/{provider}/traits", of_provider, "PUT")
        held = {"allocations": {provider: {"resources": dict.fromkeys(inventories, 1)}}}
        whose = {"project_id": "project", "user_id": "user", "consumer_generation": None, "consumer_type": "INSTANCE"}
        mine = range(compute * instances, (compute + 1) * instances)
        of_all = {f"00000000-0000-4000-9000-{number:012x}": held | whose for number in mine}
        ask(url, "/allocations", of_all, "POST")
    return service, group


def main(argv=None):
    """Print the figures, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--computes", type=int, default=1000)
    parser.add_argument("--instances", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--placement", action="store_true", help="the real Placement on MariaDB")
    arguments = parser.parse_args(argv)
    if shutil.which("wrk") is None:
        sys.exit("it needs wrk")
    wanted = arguments.computes + 512
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted:
        sys.exit(f"{arguments.computes} connections need {wanted} open files, the limit is {hard}; lower --computes")
    # (wrk takes the limit as it is.)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        side = theirs if arguments.placement else ours
        service, group = side(stack, directory, port, arguments.computes, arguments.instances)
        figures = load(url, arguments.computes, arguments.instances, arguments.seconds, {service.pid, group})
        figures["memory_mb"] = round(memory_mb(service.pid))
    for name, value in figures.items():
        print(f"{name:20} {value}")
    side = "Placement" if arguments.placement else "nova_sched"
    print(json.dumps({"benchmark": "idle_computes", "side": side, **figures}))


if __name__ == "__main__":
    main()
