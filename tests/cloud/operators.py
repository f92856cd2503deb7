"""operators.py [OUT.json]: the commands of an operator on a cloud whose hosts are Nova's: what runs, why a server is
where it is, a dry run, a smoke test, a host that is disabled, drained and enabled again. One row per command."""

import json
import os
import subprocess
import sys
import tarfile

from asked import boot, expect, finish, gone, hosts_up, note, nova, service_of, wait

BIN = os.environ["NOVA_SCHED_BIN"]
ETC = os.path.join(os.environ["CLOUD_DIR"], "etc")
CONFIG = os.path.join(ETC, "nova_sched-operators.conf")
BUNDLE = os.path.join(os.environ["CLOUD_DIR"], "report", "support-bundle.tar.gz")
SECONDS_MAX = 120


def one_configuration():
    """Write what the services read from several files into one, as the commands take one."""
    parts = ["nova_sched.conf", *sorted(name for name in os.listdir(ETC) if name.startswith("nova_sched-cell"))]
    texts = []
    for name in parts:
        with open(os.path.join(ETC, name)) as file:
            texts.append(file.read())
    with open(CONFIG, "w") as file:
        file.write("\n".join(texts))


def ask(what, program, *words, code=0, has=()):
    """Run a command, note how it ended, and return its stdout. It must end with ``code``, and print each of ``has``."""
    done = subprocess.run(
        [os.path.join(BIN, program), *words], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    printed = done.stdout + done.stderr
    expect(done.returncode == code, f"{what}: exit code {done.returncode}, wanted {code}: {printed[-500:]}")
    expect("Traceback" not in printed, f"{what}: a traceback")
    for text in has:
        expect(text in printed, f"{what}: {text!r} is not in what it printed: {printed[-500:]}")
    note(what=what, code=done.returncode, first=printed.partition("\n")[0][:120])
    return done.stdout


def what_runs(hosts):
    """Services, hosts and the health of the logs."""
    services = json.loads(
        ask("services", "nova-sched", "service", "list", "--ask", "--config-file", CONFIG, "-f", "json") or "[]"
    )
    down = [service for service in services if service.get("status") == "down"]
    expect(services and not down, f"services that are down: {down}")
    listed = json.loads(ask("hosts", "nova-sched", "host", "list", "-f", "json") or "[]")
    found = {row["host"]: (row["status"], row["authority"]) for row in listed}
    for host in hosts:
        expect(found.get(host) == ("up", "nova"), f"{host} is {found.get(host)}, wanted up, and nova's")
    ask("doctor", "nova-sched-replay", "doctor", "--ask", "--config-file", CONFIG)
    ask("upgrade check", "nova-sched-status", "--config-file", CONFIG, "upgrade", "check")


def why(server, other):
    """Why a server is where it is, and not elsewhere."""
    ask("explain", "nova-sched-replay", "explain", server.id, has=(server.compute_host,))
    ask("why-not", "nova-sched-replay", "why-not", server.id, other, has=(other, "ComputeStatusFilter"))
    ask("history", "nova-sched-replay", "history", server.id, has=(server.compute_host,))


def would_it_fit(server, other):
    """Dry runs of a real server and of a flavor of Nova, and a smoke test."""
    ask("dry run of a server", "nova-sched", "dry-run", "--like", server.id, "--move", has=(f"chosen {other}",))
    ask("dry run of a flavor", "nova-sched", "dry-run", "m1.small", "--nova", has=("chosen",))
    ask("dry run of a large flavor", "nova-sched", "dry-run", "1000000:512", code=1, has=("VCPU",))
    ask("smoke test", "nova-sched", "smoke", "1:64", "--config-file", CONFIG)


def a_host_is_taken_out(server, host):
    """Through Nova's API: the command writes nothing into our log."""
    reason = "ticket 4711"
    ask("disable", "nova-sched", "host", "disable", host, "--reason", reason)
    expect(service_of(host).status == "disabled", f"{host} is not disabled in Nova")
    wait(
        "the host to be disabled in the log",
        lambda: "refused for disabled" in ask_quietly("nova-sched", "dry-run", "1:64", "--host", host),
        30,
    )
    still = ask("drain", "nova-sched", "host", "drain", host, "--wait", "2s", "-f", "json", code=1)
    expect(server.id in still, f"the drain does not name {server.id}: {still[-300:]}")
    ask("remove a host that is up", "nova-sched", "host", "remove", host, code=1)
    expect(service_of(host) is not None, f"the service of {host} is gone")
    gone(server)
    ask("drain of an empty host", "nova-sched", "host", "drain", host, "--wait", "60s")
    ask("enable", "nova-sched", "host", "enable", host)
    expect(service_of(host).status == "enabled", f"{host} is not enabled in Nova")
    wait(
        "the host to be enabled in the log",
        lambda: "refused for disabled" not in ask_quietly("nova-sched", "dry-run", "1:64", "--host", host),
        30,
    )


def ask_quietly(program, *words):
    """What a command prints."""
    done = subprocess.run([os.path.join(BIN, program), *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def what_is_used():
    """The commands about use and policies."""
    for by in ("project", "flavor", "zone"):
        ask(f"usage by {by}", "nova-sched", "usage", "--by", by)
    for words in (("fragmentation",), ("conflicts",), ("trend",), ("policy", "history")):
        ask(" ".join(words), "nova-sched", *words)


def bundle():
    """A support bundle of a cloud that works, without passwords of it."""
    # 1: something is missing, here the journal of systemd and metrics, which this cloud does not have.
    ask("support bundle", "nova-sched", "support-bundle", "-o", BUNDLE, "--force", "--config-file", CONFIG, code=1)
    with tarfile.open(BUNDLE) as files:
        texts = {member.name: files.extractfile(member).read() for member in files if member.isfile()}
    leaking = [name for name, text in texts.items() if b":lab@" in text]
    expect(texts and not leaking, f"passwords are in {leaking} of the support bundle")


def main():
    one_configuration()
    hosts = hosts_up()
    what_runs(hosts)
    server = boot("create")
    server = nova.get_server(server.id)
    other = next(host for host in hosts if host != server.compute_host)
    why(server, other)
    would_it_fit(server, other)
    what_is_used()
    bundle()
    a_host_is_taken_out(server, server.compute_host)
    finish(*sys.argv[1:2])


if __name__ == "__main__":
    main()
