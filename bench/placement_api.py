"""The Placement API beside the real Placement on MariaDB: both under one web server, asked by the same load in turns.

Rate per core: requests divided by the CPU seconds of all processes of a side (the web server with the API, and its
broker or database).

``python -m bench placement_api [--server uwsgi|waitress] [--seconds S] [--rounds N] [--connections N]``

It needs mariadbd and wrk, and the environment that ``make nova-setup`` makes, with pymysql, and uwsgi or waitress.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

from tests.placement_api.keystone import PASSWORD, Keystone, token
from tests.placement_api.regions import prepare
from tests.servers import RabbitServer, find_program, free_port, wait_until

ROOT = Path(__file__).resolve().parents[1]
PEER = Path(os.environ.get("NOVA_SCHED_PEER_PYTHON", ROOT / ".venv-nova/bin/python"))
PROVIDERS, CONSUMERS = 200, 2000
THREADS = 8
HEADERS = {"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.39", "Content-Type": "application/json"}
TICKS = os.sysconf("SC_CLK_TCK")

#: wrk's script: the requests of a run, in turns over all providers or consumers.
LUA = """
local kind, prefix, tag = "%(kind)s", "%(prefix)s", "%(tag)s"
local providers, consumers = %(providers)d, %(consumers)d
local headers = {["X-Auth-Token"] = "admin", ["OpenStack-API-Version"] = "placement 1.39",
                 ["Content-Type"] = "application/json"}
local number = 0
local function provider(n) return string.format("00000000-0000-4000-8000-%%012x", n %% providers) end
local function consumer(n) return string.format("00000000-0000-4000-9000-%%012x", n %% consumers) end
request = function()
  number = number + 1
  if kind == "PUT allocations" then
    local body = string.format('{"allocations":{"%%s":{"resources":{"VCPU":1,"MEMORY_MB":512}}},"project_id":"p",' ..
      '"user_id":"u","consumer_generation":null,"consumer_type":"INSTANCE"}', provider(number))
    return wrk.format("PUT", string.format("/allocations/00000000-%%s-4000-a000-%%012x", tag, number), headers, body)
  end
  local path = "/allocations/" .. consumer(number)
  if kind == "GET usages" then path = "/resource_providers/" .. provider(number) .. "/usages" end
  if kind == "GET inventories" then path = "/resource_providers/" .. provider(number) .. "/inventories" end
  return wrk.format("GET", path, headers)
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format('\\nRESULT {"requests": %%d, "failed": %%d, "p50_ms": %%f, "p99_ms": %%f, "seconds": %%f}\\n',
    summary.requests, failed, latency:percentile(50) / 1000, latency:percentile(99) / 1000, summary.duration / 1e6))
end
"""
OURS, FENCED, WITH_TOKENS, PLACEMENT = NAMES = ("nova_sched", "for several machines", "with Keystone", "Placement")
KINDS = ("GET allocations", "GET usages", "GET inventories", "PUT allocations")


def cpu_seconds(groups) -> float:
    """CPU seconds of all living processes of some process groups."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[2]) in groups:
                total += int(fields[11]) + int(fields[12])
    return total / TICKS


def uwsgi(address, module, python):
    """The command of uWSGI, as devstack runs Placement, with one process of one thread."""
    return [
        *(str(PEER.with_name("uwsgi")), "--http", address, "--http-keepalive=600", "--processes=1"),
        *("--enable-threads", "--lazy-apps", "--need-app", "--disable-logging", "--buffer-size=65535"),
        *(f"--home={python.parent.parent}", f"--module={module}:application"),
    ]


def waitress(address, module, python):
    """The command of waitress, with one process of several threads."""
    return [
        *(str(python), "-W", "ignore", "-m", "waitress", f"--threads={THREADS}"),
        *(f"--listen={address}", f"{module}:application"),
    ]


SERVERS = {"uwsgi": uwsgi, "waitress": waitress}


class Side:
    """A web server that runs, and the process groups whose CPU time counts."""

    def __init__(self, name, stack, server, module, python, env, groups):
        self.name = name
        address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{address}"
        process = stack.enter_context(running(SERVERS[server](address, module, Path(python)), env))
        self.groups = {*groups, process.pid}
        wait_until(lambda: self.answers(process), 60, f"{name} does not answer")

    def answers(self, process):
        """Whether the web server answers."""
        if process.poll() is not None:
            raise SystemExit(f"{self.name} ended with {process.returncode}")
        try:
            return self.ask("GET", "/") is not None
        except OSError:
            return False

    def ask(self, method, path, body=None):
        """Send one request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, HEADERS, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def fill(self):
        """Create the providers and consumers that are asked for."""
        # The first request starts a worker of ours, which then reads its log.
        for number in range(PROVIDERS):
            provider = f"00000000-0000-4000-8000-{number:012x}"
            self.ask("POST", "/resource_providers", {"name": f"host-{number}", "uuid": provider})
            large = {"total": 2**31 - 1}
            inventories = dict.fromkeys(("VCPU", "MEMORY_MB", "DISK_GB"), large)
            body = {"resource_provider_generation": 0, "inventories": inventories}
            self.ask("PUT", f"/resource_providers/{provider}/inventories", body)
        for number in range(CONSUMERS):
            resources = {"resources": {"VCPU": 2, "MEMORY_MB": 4096, "DISK_GB": 20}}
            body = {
                "allocations": {f"00000000-0000-4000-8000-{number % PROVIDERS:012x}": resources},
                "project_id": "p",
                "user_id": "u",
                "consumer_generation": None,
                "consumer_type": "INSTANCE",
            }
            self.ask("PUT", f"/allocations/00000000-0000-4000-9000-{number:012x}", body)

    def load(self, kind, seconds, connections):
        """Ask for a while; returns requests a CPU second, CPU milliseconds a request, and latencies."""
        script = LUA % {
            "kind": kind,
            "prefix": self.url,
            "tag": uuid.uuid4().hex[:4],
            "providers": PROVIDERS,
            "consumers": CONSUMERS,
        }
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            before = cpu_seconds(self.groups)
            command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", file.name, self.url]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            used = cpu_seconds(self.groups) - before
        found = json.loads(out.rpartition("RESULT ")[2])
        failed, done = found["failed"], found["requests"] - found["failed"]
        # Placement refuses some writes when several clients write to one provider: they are counted, and not as done.
        if failed > done or (failed and self.name != PLACEMENT):
            raise SystemExit(f"{self.name}: {failed} of {found['requests']} requests failed ({kind})")
        return {
            "per_core": done / used,
            "cpu_ms": 1000 * used / done,
            "per_second": done / found["seconds"],
            "p50_ms": found["p50_ms"],
            "p99_ms": found["p99_ms"],
            "failed": failed,
        }


@contextlib.contextmanager
def running(command, env=None, cwd=None):
    """A process in a group of its own, until the end."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def mariadb(stack, directory):
    """Start a private MariaDB with its defaults; (process group, connection of an empty database)."""
    data, socket = directory / "mariadb", directory / "mariadb.sock"
    program = find_program("mariadbd", ("/usr/sbin", "/usr/local/sbin"), "mariadb-server")
    install = find_program("mariadb-install-db", ("/usr/bin",), "mariadb-server")
    user = ["--user=root"] if os.getuid() == 0 else []
    own = ["--no-defaults", f"--datadir={data}"]
    made = [install, *own, "--auth-root-authentication-method=normal", "--skip-test-db", *user]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    port = free_port()
    listening = [f"--socket={socket}", f"--port={port}", "--bind-address=127.0.0.1", f"--pid-file={directory}/pid"]
    process = stack.enter_context(running([program, *own, *listening, *user]))
    client = [find_program("mariadb", ("/usr/bin",), "mariadb-client"), "--no-defaults", f"--socket={socket}", "-uroot"]
    statements = (
        "create database placement character set utf8; create user placement@'127.0.0.1' identified by 'secret'; "
        "grant all on placement.* to placement@'127.0.0.1'"
    )
    wait_until(
        lambda: subprocess.run([*client, "-e", statements], capture_output=True).returncode == 0, 60, "no MariaDB"
    )
    return process.pid, f"mysql+pymysql://placement:secret@127.0.0.1:{port}/placement?charset=utf8"


def placement_env(stack, directory) -> tuple[dict, int]:
    """A real Placement on an empty MariaDB: (environment of its web server, process group of the database)."""
    group, connection = mariadb(stack, directory)
    (directory / "placement.conf").write_text(
        f"[placement_database]\nconnection = {connection}\n[api]\nauth_strategy = noauth2\n[DEFAULT]\ndebug = false\n"
    )
    env = {"OS_PLACEMENT_CONFIG_DIR": str(directory)}
    manage = [str(PEER.with_name("placement-manage")), "--config-file", str(directory / "placement.conf"), "db", "sync"]
    subprocess.run(manage, check=True, env={**os.environ, **env}, capture_output=True)
    return env, group


def theirs(stack, directory, server) -> Side:
    """The real Placement on MariaDB."""
    env, group = placement_env(stack, directory)
    return Side(PLACEMENT, stack, server, "placement.wsgi.api", PEER, env, {group})


def ours(stack, directory, server) -> list[Side]:
    """Our API on a RabbitMQ stream: for workers of one machine, for those of several machines, and with tokens that
    Keystone checks. Keystone, for which one of the tests is used, is asked once: the token is then cached."""
    rabbit = stack.enter_context(RabbitServer())
    url = rabbit.url("nova_sched.cell1")
    prepare(url)
    keystone = Keystone({HEADERS["X-Auth-Token"]: token("admin", "admin", ("admin", "service"))})
    stack.callback(keystone.close)
    found = []
    for name, strategy, others in (
        (OURS, "noauth2", "false"),
        (FENCED, "noauth2", "true"),
        (WITH_TOKENS, "keystone", "false"),
    ):
        config = directory / f"nova_sched-{strategy}-{others}.conf"
        config.write_text(
            f"[cells]\nenabled = cell1\n[cell:cell1]\nuuid = {uuid.uuid4()}\nlog = {url}\n"
            f"[placement_api]\nauth_strategy = {strategy}\nother_machines = {others}\nstate_dir = {directory}/state\n"
            f"[keystone_authtoken]\nauth_type = password\nauth_url = {keystone.url}\nusername = placement\n"
            f"password = {PASSWORD}\nuser_domain_id = default\nproject_name = service\nproject_domain_id = default\n"
        )
        env = {"OS_NOVA_SCHED_CONFIG_FILES": str(config), "PYTHONPATH": str(ROOT)}
        found.append(Side(name, stack, server, "placement_api.wsgi", sys.executable, env, {rabbit._process.pid}))
    return found


def main(argv=None):
    """Print a table of both sides, and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", choices=SERVERS, default="uwsgi")
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=4)
    arguments = parser.parse_args(argv)
    if not PEER.exists() or shutil.which("wrk") is None:
        sys.exit("it needs wrk, and the environment that make nova-setup makes")
    figures = {kind: {name: [] for name in NAMES} for kind in KINDS}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sides = [*ours(stack, directory, arguments.server), theirs(stack, directory, arguments.server)]
        for side in (sides[0], sides[-1]):  # (ours are over one log)
            began = time.monotonic()
            side.fill()
            print(f"{side.name}: filled in {time.monotonic() - began:.1f} s", flush=True)
        for kind in KINDS:
            for number in range(arguments.rounds):
                for side in sides if number % 2 else reversed(sides):
                    figures[kind][side.name].append(side.load(kind, arguments.seconds, arguments.connections))
    result = {kind: {name: _medians(runs) for name, runs in of.items()} for kind, of in figures.items()}
    for kind, of in result.items():
        of["ratio per core"] = round(of[OURS]["per_core"] / of[PLACEMENT]["per_core"], 1)
        for name in NAMES:
            one = of[name]
            print(
                f"{kind:16} {name:21} {one['cpu_ms']:8.3f} ms CPU, {one['per_core']:8.0f} a core second, "
                f"{one['per_second']:7.0f}/s, p50 {one['p50_ms']:7.2f} ms, p99 {one['p99_ms']:7.2f} ms"
                + (f", {one['failed']:.0f} failed" if one["failed"] else "")
            )
        print(f"{kind:16} ratio per core {of['ratio per core']}")
    print(json.dumps({"benchmark": "placement_api", **result}))


def _medians(runs):
    return {name: round(statistics.median(run[name] for run in runs), 3) for name in runs[0]}


if __name__ == "__main__":
    main()
