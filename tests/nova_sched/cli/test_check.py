"""check finds what is wrong with a log, and says so by its exit code; doctor finds what is wrong with a site, and
what to do."""

import itertools
import json
import subprocess
import sys
import threading
import time

import pytest

from nova_sched.cli.main import main, replay
from nova_sched.process.snapshot_store import FileStore
from nova_sched.replay.health import doctor as diagnosis
from nova_sched.replay.health.log_check import Producer
from rpc_api import codec, events
from rpc_api.clock import SYSTEM
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import (
    AT_NS,
    EPOCH,
    HandClock,
    Voice,
    claim,
    confirmation,
    consumer,
    decision,
    inventory_of,
    of,
    record_of,
    report,
    tree,
    uuid_of,
)
from tests.servers import wait_until

_names = itertools.count()
SECOND = 10**9


@pytest.fixture
def log():
    with open_log(f"memory://check-{next(_names)}") as log:
        log.append([record_of(Voice("conductor/c").say(events.LogOpened("cell1", EPOCH)))])
        yield log
        log.delete()


def checked(capsys, log, *options):
    """(exit code, check -> row) of cell1."""
    code = replay(["check", "--log", f"cell1={log.url}", "-o", "json", *options])
    return code, {row["check"]: row for row in json.loads(capsys.readouterr().out)}


def test_a_played_cloud_is_well(played, capsys):
    assert replay(["check", "--log", str(played)]) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert {line.split()[0] for line in lines[1:]} == {"cell0", "cell1", "cell2"} and "no problem found in " in said.err
    assert len([line for line in lines if "reader scheduler/" in line]) == 12
    assert not [line for line in lines[1:] if " ok " not in line]


SCHEDULER = "scheduler/one"


def aside():
    yield b"\xc1 junk"


def gap():
    voice = Voice(SCHEDULER)
    yield record_of(voice.say(claim("a", "x")))
    voice.sequence += 3
    yield record_of(voice.say(claim("b", "x")))


def duplicate():
    payload = record_of(Voice(SCHEDULER).say(claim("a", "x")))
    yield payload
    yield payload


def stale():
    yield record_of(Voice(SCHEDULER, 5).say(claim("a", "x")))
    yield record_of(Voice(SCHEDULER, 4).say(claim("b", "x")))


def backwards():
    voice = Voice(SCHEDULER)
    yield record_of(voice.say(claim("a", "x")))
    yield record_of(voice.say(claim("b", "x"))._replace(at_ns=AT_NS - 90 * SECOND))


def divergence():
    agent = Voice("compute_agent/a")
    yield record_of(agent.say(report("a")), agent.say(events.HostConfirmed("a", 7)))


def strays():
    yield record_of(Voice("compute_agent/a").say(report("a", consumer("vm", of("gone", 2), of("a", 1, "PCPU")))))


def strays_that_are_over():
    agent, vm = Voice("compute_agent/a"), consumer("vm", of("gone", 2))
    yield record_of(agent.say(report("a", vm)), agent.say(events.InstanceDeleted("a", uuid_of("vm"))))


def closed(*after):
    agent = Voice("compute_agent/a")
    yield record_of(Voice("operator/o").say(events.LevelPinned(2)))
    broken = tree("a", inventories=[inventory_of(ratio=-1.0)])
    yield record_of(*(agent.say(report("a", inventory=inventory)) for inventory in (broken, *after)))


def closed_and_open_again():
    yield from closed(tree("a"))


def fine():
    agent, said = Voice("compute_agent/a"), report("a")
    yield record_of(agent.say(said), agent.say(confirmation(said)))


@pytest.mark.parametrize(
    "records, check, code, state, count, says",
    [
        (aside, "set aside", 1, "wrong", 1, "1 undecodable"),
        (gap, "sequence gaps", 1, "wrong", 1, "scheduler/one: 3 missing in 1 places"),
        (duplicate, "duplicates", 0, "note", 1, "scheduler/one: 1"),
        (stale, "stale epochs", 1, "wrong", 1, "its clock went back"),
        (backwards, "clocks", 1, "wrong", 1, "scheduler/one went back by 90.0 s"),
        (divergence, "digest-mismatch", 1, "wrong", 1, "another state than the log had"),
        (strays, "stray-use", 1, "wrong", 1, f"1 PCPU of the provider {uuid_of('a')}, which it does"),
        (strays_that_are_over, "stray-use", 0, "ended", 1, "over, the last at 2023-11-14T22:13:20"),
        (closed, "closed-provider", 1, "wrong", 1, "a: VCPU of a has the capacity -8 (total 8, reserved 0,"),
        (closed_and_open_again, "closed-provider", 0, "ended", 1, "over, the last at 2023-11-14T22:13:20"),
        (fine, "set aside", 0, "ok", 0, "none"),
    ],
)
def test_each_fault_is_found(log, capsys, records, check, code, state, count, says):
    log.append(list(records()))
    found, rows = checked(capsys, log)
    row = rows.pop(check)
    assert (found, row["state"], row["count"]) == (code, state, count) and says in row["found"]
    assert {one["state"] for one in rows.values()} <= {"ok"}


def test_a_log_without_its_beginning(log, capsys):
    voice = Voice("scheduler/one")
    log.append([record_of(voice.say(claim(f"vm-{number}", "x"))) for number in range(6)])
    log.truncate_before(4)
    code, rows = checked(capsys, log)
    assert code == 4 and rows["whole"]["state"] == "gap" and "records before 4 were removed" in rows["whole"]["found"]
    assert rows["sequence gaps"]["state"] == "ok"
    log.append([record_of(Voice("conductor/c").say(events.LogRebased("cell1", 4)))])
    code, rows = checked(capsys, log)
    assert code == 0 and "was rebased" in rows["whole"]["found"] and rows["rebased"]["state"] == "note"


def test_an_empty_log(capsys):
    with open_log(f"memory://check-{next(_names)}") as empty:
        code, rows = checked(capsys, empty)
        assert code == 0 and "the log is empty" in rows["log"]["found"]
        empty.delete()


def test_a_scheduler_that_does_not_follow(log, capsys):
    """It decided at 20 s and did not know of the record of 5 s."""
    agent, scheduler = Voice("compute_agent/a"), Voice("scheduler/slow")
    log.append([record_of(agent.say(report("a"))._replace(at_ns=AT_NS + 5 * SECOND))])
    log.append([record_of(scheduler.say(decision("vm"))._replace(at_ns=AT_NS + 20 * SECOND))])
    code, rows = checked(capsys, log, "--silent", "10s")
    row = rows["reader scheduler/slow"]
    assert (code, row["state"], row["count"]) == (1, "wrong", 2) and "15000 ms behind" in row["found"]
    assert rows["silent"]["state"] == "note" and "agent of a for 15 s" in rows["silent"]["found"]
    # A conductor that has nothing to do publishes nothing.
    assert rows["heard"]["state"] == "ok" and "conductor/c 20 s before the end" in rows["heard"]["found"]


@pytest.mark.parametrize("wrong", ["soon", "", "5"])
def test_a_time_that_is_none(log, capsys, wrong):
    assert replay(["check", "--log", f"cell1={log.url}", "--silent", wrong]) == 2
    assert "wanted a time such as 10s, 500ms or 5m" in capsys.readouterr().err


def test_the_first_event_of_a_producer_is_no_gap_where_records_were_removed():
    event = Voice("scheduler/one").say(claim("a", "x"))._replace(sequence=9)
    for known, gaps in ((True, 1), (False, 0)):
        producer = Producer()
        producer.see(0, event, known)
        assert producer.gaps == gaps


# --- doctor ---------------------------------------------------------------------------------------------------------


def diagnosed(capsys, *arguments):
    """(exit code, (subject, check) -> row)."""
    code = replay(["doctor", "-o", "json", *arguments])
    return code, {(row["subject"], row["check"]): row for row in json.loads(capsys.readouterr().out)}


def test_the_log_of_another_cell(log, capsys):
    code = replay(["doctor", "-o", "json", "--log", f"cell2={log.url}"])
    (row,) = (row for row in json.loads(capsys.readouterr().out) if row["state"] == "fail")
    assert code == 1 and (row["subject"], row["found"]) == ("cell2", "it is the log of cell1")


def told(log, at_ns, *names):
    """Each of some agents reports, at a time."""
    log.append([record_of(Voice(f"compute_agent/{name}").say(report(name))._replace(at_ns=at_ns)) for name in names])


def test_a_healthy_log(log, capsys):
    told(log, SYSTEM.now_ns(), "a", "b", "c")
    code, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    # (The one who opened the log said so in 2023.)
    assert code == 0 and {check: row["state"] for (_, check), row in rows.items()} == {
        "versions": "ok",
        "reachable": "ok",
        "log": "ok",
        "schemas": "ok",
        "level": "ok",
        "clocks": "ok",
        "written": "ok",
        "hosts": "ok",
        "agents": "ok",
        "services": "ok",
        "set aside": "ok",
    }


@pytest.mark.parametrize("ago_s, state", [(1, "warn"), (7200, "ok")])
def test_events_that_do_not_count(log, capsys, ago_s, state):
    told(log, SYSTEM.now_ns() - ago_s * SECOND, "a")
    log.append([b"garbage", codec.msgpack.packb([1, EPOCH, [["HostLost", "1.0", "conductor/c", 1, 9, 1, ["a"]]]])])
    _, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    row = rows["cell1", "set aside"]
    assert row["state"] == state
    assert "2 events do not count: 1 undecodable, 1 invalid, the last at " in row["found"]
    assert ("which is over" in row["found"], "runbooks" in row["to_do"]) == (state == "ok", state == "warn")


def test_use_that_hosts_do_not_report(log, capsys):
    log.append(list(strays()))
    _, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    row = rows["cell1", "stray use"]
    assert row["state"] == "warn" and "instances on 1 host use providers or resource classes" in row["found"]
    assert f"a has 2 VCPU of the provider {uuid_of('gone')}, 1 PCPU of" in row["found"]
    assert "move the instances" in row["to_do"]


def test_providers_that_a_fault_closes(log, capsys):
    log.append(list(closed()))
    _, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    row = rows["cell1", "closed providers"]
    assert row["state"] == "warn" and row["found"].startswith("1 provider offers nothing, because of a fault in a")
    assert "a: VCPU of a has the capacity -8" in row["found"]


@pytest.mark.parametrize("count, state", [(4900, None), (5600, "fail")])
def test_a_producer_that_floods_a_log(log, capsys, count, state):
    flat_out, now_ns = Voice("compute_agent/c"), SYSTEM.now_ns()
    told(log, now_ns, "a", "b")
    log.append(
        [
            record_of(*(flat_out.say(report("c"))._replace(at_ns=now_ns) for _ in range(100)))
            for _ in range(count // 100)
        ]
    )
    code, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    found = rows.get(("cell1", "producers"))
    assert (found and found["state"]) == state and code == (1 if state else 0)
    if state:
        assert found["found"] == f"compute_agent/c wrote 100 % of the last {count + 2:,} events, {count:,} per second"
        assert "take away its right to write" in found["to_do"]


@pytest.mark.parametrize(
    "ahead, who, says",
    [
        (3600, ["a"], "compute_agent/a 3"),
        (-40, ["b"], "compute_agent/b"),
        (60, ["a", "b", "c"], "ahead of this machine"),
    ],
)
def test_clocks_that_stand_out(log, capsys, ahead, who, says):
    now_ns = SYSTEM.now_ns()
    for _ in range(3):
        for name in "abc":
            told(log, now_ns + (ahead * SECOND if name in who else 0), name)
    code, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    row = rows["cell1", "clocks"]
    assert code == 0 and row["state"] == "warn" and says in row["found"] and "NTP" in row["to_do"]
    for name in set("abc") - set(who):
        assert f"compute_agent/{name}" not in row["found"]


class Busy:
    """A log on a machine on which each reading takes a minute, and an agent publishes meanwhile."""

    def __init__(self, log, clock):
        self._log, self._clock = log, clock

    def __getattr__(self, name):
        return getattr(self._log, name)

    def read_from(self, position):
        """Read the log a minute later."""
        self._clock.seconds += 60
        return self._log.read_from(position)


def test_what_is_published_while_the_log_is_read_is_not_ahead(log):
    clock = HandClock()
    told(log, clock.now_ns() + 30 * SECOND, "a", "b", "c")
    found = {finding.check: finding for finding in diagnosis.of_log("cell1", Busy(log, clock), clock)}
    assert found["clocks"].state == "ok", found["clocks"]


def test_a_log_that_nobody_writes_to(log, capsys):
    told(log, AT_NS, "a")
    _, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    assert (
        rows["cell1", "written"]["state"] == "warn"
        and "check that conductors and agents are running" in rows["cell1", "written"]["to_do"]
    )


def test_events_of_a_later_version(log, capsys):
    log.append([codec.msgpack.packb([1, EPOCH, [["HostLost", "1.7", "conductor/c", 1, 9, 1, ["a", "r"]]]])])
    code, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    assert (
        code == 1
        and "HostLost 1.7 is newer" in rows["cell1", "schemas"]["found"]
        and "upgrade" in rows["cell1", "schemas"]["to_do"]
    )


KNOWN = f"this version knows 1 to {LEVEL}"
#: What may be done about a log that is not at the newest level.
TO_PIN = "run nova-sched pin when all services are upgraded"
LEVELS = {
    "not pinned": ([], "ok", f"1, {KNOWN}", TO_PIN),
    "pinned to a level before": ([(1, events.LevelPinned(LEVEL - 1))], "ok", f"{LEVEL - 1}, {KNOWN}", TO_PIN),
    "pinned": ([(1, events.LevelPinned(LEVEL))], "ok", f"{LEVEL}, {KNOWN}", ""),
    "too new": (
        [(1, events.LevelPinned(LEVEL + 1))],
        "fail",
        f"pinned to level {LEVEL + 1}, {KNOWN}",
        "upgrade nova_sched here",
    ),
    "a pin was lost": (
        [(2, events.PolicyAdopted("d", "{}"))],
        "warn",
        "1; 1 of the last",
        "run nova-sched pin again when all",
    ),
}


@pytest.mark.parametrize("name", LEVELS)
def test_levels(log, capsys, name):
    said, state, found, to_do = LEVELS[name]
    told(log, SYSTEM.now_ns(), "a")
    for level, data in said:
        voice = Voice("operator/test" if data.schema.__name__ == "LevelPinned" else "scheduler/test")
        log.append([record_of(voice.say(data)._replace(at_ns=SYSTEM.now_ns()), level=level)])
    code, rows = diagnosed(capsys, "--log", f"cell1={log.url}")
    row = rows["cell1", "level"]
    assert (code, row["state"]) == (int(state == "fail"), state)
    assert found in row["found"] and to_do in row["to_do"] and bool(to_do) == bool(row["to_do"]), row


@pytest.mark.parametrize("after_s, state", [(5, "ok"), (600, "fail")])
def test_a_scheduler_that_does_not_know_the_pin(log, capsys, after_s, state):
    """What it wrote just after the pin may have been under way."""
    pinned_ns = SYSTEM.now_ns() - 3600 * SECOND
    pinned, older, agent = Voice("operator/test"), Voice("scheduler/old"), Voice("compute_agent/a")
    later_ns = pinned_ns + after_s * SECOND
    for voice, data, at_ns in (
        (agent, report("a"), pinned_ns),
        (pinned, events.LevelPinned(2), pinned_ns),
        (older, claim("vm", "a"), later_ns),
        (agent, report("a"), later_ns),
    ):
        log.append([record_of(voice.say(data)._replace(at_ns=at_ns))])
    row = diagnosed(capsys, "--log", f"cell1={log.url}")[1]["cell1", "level"]
    assert row["state"] == state
    assert ("scheduler/old write at a lower level" in row["found"]) == (state == "fail")
    assert "compute_agent" not in row["found"]


def test_logs_of_different_levels(log, tmp_path, capsys):
    told(log, SYSTEM.now_ns(), "a")
    with open_log(f"sqlite:///{tmp_path}/cell0.db") as cell0:
        pinned = [Voice("operator/test").say(events.LevelPinned(2))._replace(at_ns=SYSTEM.now_ns())]
        opened = [Voice("scheduler/test").say(events.LogOpened("cell0", EPOCH))._replace(at_ns=SYSTEM.now_ns())]
        cell0.append([record_of(*opened), record_of(*pinned)])
    code, rows = diagnosed(capsys, "--log", f"cell1={log.url}", "--log", f"cell0=sqlite:///{tmp_path}/cell0.db")
    row = rows["all logs", "level"]
    assert (code, row["state"], row["found"]) == (0, "warn", "cell0 has level 2, cell1 has level 1")


def test_snapshots(log, tmp_path, capsys):
    told(log, SYSTEM.now_ns(), "a")
    named = ("--log", f"cell1={log.url}", "--snapshots", f"file://{tmp_path}")
    assert diagnosed(capsys, *named)[1]["cell1", "snapshot"]["state"] == "warn"
    assert main(["snapshot", "--log", f"cell1={log.url}", "--to", f"file://{tmp_path}"]) == 0
    capsys.readouterr()
    code, rows = diagnosed(capsys, *named)
    assert code == 0 and "position 1, 0 before the end" in rows["cell1", "snapshot"]["found"]
    FileStore(str(tmp_path)).save("cell1", b"\xc1")
    code, rows = diagnosed(capsys, *named)
    assert code == 1 and rows["cell1", "snapshot"]["state"] == "fail"


def test_what_cannot_be_reached_and_what_is_empty(log, capsys):
    with open_log(f"memory://check-{next(_names)}") as empty:
        code, rows = diagnosed(
            capsys,
            "--log",
            f"cell1={log.url}",
            "--log",
            "cell2=rabbit://u:secret@127.0.0.1:1/?stream=x",
            "--log",
            f"cell3={empty.url}",
        )
        assert (
            code == 3
            and rows["cell2", "reachable"]["state"] == "fail"
            and "secret" not in json.dumps(list(rows.values()))
        )
        assert rows["cell1", "log"]["state"] == "ok" and rows["cell3", "log"]["state"] == "warn"
        empty.delete()


def test_a_log_that_opens_and_cannot_be_read_is_counted(played, tmp_path, capsys):
    broken = tmp_path / "broken.db"
    whole = (played / "log.cell1.db").read_bytes()
    broken.write_bytes(whole[:4096].ljust(len(whole), b"\xff"))
    assert replay(["doctor", "--log", f"cell1=sqlite:///{broken}"]) == 3
    assert "1 fail, 0 warn" in capsys.readouterr().err


def test_an_exported_file(played, tmp_path, capsys):
    out = tmp_path / "file.nslog"
    assert replay(["--log", str(played), "export", "-o", str(out)]) == 0
    capsys.readouterr()
    code, rows = diagnosed(capsys, "--log", str(out))
    assert (
        code == 0
        and "an exported file, redacted" in rows["cell1", "reachable"]["found"]
        and ("cell1", "written") not in rows
    )
    out.write_bytes(out.read_bytes()[:-50])
    code, rows = diagnosed(capsys, "--log", str(out))
    assert code == 4 and rows["cell1", "readable"]["state"] == "fail"


# --- with a broker --------------------------------------------------------------------------------------------------


@pytest.mark.rabbit
def test_an_account_that_only_reads(rabbit_server, vhost, capsys):
    """doctor says what the account may, and appends nothing; tail follows with it, and an event is there soon."""
    stream, name = "nova_sched.cell1", f"replay-{next(_names)}"
    with open_log(rabbit_server.url(stream, vhost)) as log:
        log.append([record_of(Voice("conductor/c").say(events.LogOpened("cell1", EPOCH)))])
        rabbit_server.add_user(name, "secret", "^$", "^$", r"^nova_sched\.", vhost=vhost)
        reading = f"cell1={rabbit_server.url(stream, vhost, name, 'secret')}"
        code, rows = diagnosed(capsys, "--log", reading)
        assert (
            code == 0
            and "RabbitMQ" in rows["cell1", "reachable"]["found"]
            and ", cluster " in rows["cell1", "reachable"]["found"]
        )
        assert (
            f"{name} may read, and may not write" in rows["cell1", "account"]["found"]
            and not rows["cell1", "account"]["to_do"]
        )
        code, rows = diagnosed(capsys, "--log", f"cell1={log.url.replace('***', rabbit_server.password)}")
        assert (
            rows["cell1", "account"]["found"].endswith("may read, and may write") and rows["cell1", "account"]["to_do"]
        )
        assert log.bounds().count == 1
        follow(log, reading)
    rabbit_server.rabbitmqctl("delete_user", name)


def follow(log, named):
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from nova_sched.cli.main import replay; raise SystemExit(replay())",
            "--log",
            named,
            "tail",
            "-f",
            "--template",
            "{type} {at_ns}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = []
    thread = threading.Thread(
        target=lambda: [lines.append((time.time_ns(), line)) for line in process.stdout], daemon=True
    )
    thread.start()
    wait_until(lambda: lines or process.poll() is not None, 60, "nothing is shown")
    agent = Voice("compute_agent/a")
    for number in range(2, 12):
        log.append([record_of(agent.say(events.HostSeen("a"))._replace(at_ns=time.time_ns()))])
        wait_until(
            lambda number=number: len(lines) >= number or process.poll() is not None, 60, "an event is not shown"
        )
    process.terminate()
    assert process.wait(60) == 0 and process.stderr.read() == ""
    thread.join(60)
    print("ms from append to line:", sorted(round((at - int(line.split()[1])) / 1e6, 1) for at, line in lines[1:]))
