"""Hours of quiet, healthy clouds with the services' default intervals: nothing is found. The same with something that
went wrong and is over, and with something that lasts."""

import itertools
import json

import pytest

from nova_sched.cli.main import main, replay
from nova_sched.replay.health.intervals import Intervals
from nova_sched.replay.logs.ends import LastHeard
from rpc_api import codec, events
from rpc_api.clock import SYSTEM
from rpc_api.contracts import agent
from rpc_api.log import open_log
from rpc_api.wording import number_of
from tests.builders import EPOCH, Voice, claim, confirmation, consumer, decision, of, record_of, report, started

_names = itertools.count()
SECOND, MINUTE, HOUR = 10**9, 60 * 10**9, 3600 * 10**9
#: Confirmations come with the first beat after the interval.
CONFIRM = int((agent.CONFIRM_INTERVAL + agent.REPORT_INTERVAL) * SECOND)
COMMANDS = ("check", "doctor", "stats", "quarantine")


class Cloud:
    """Logs of cell0 and cell1 that end now: each host reports at the beginning, and confirms for ``hours``. ``wrong``
    is (how long before the end, a function of the cloud and that time that returns (time, function of a record))."""

    def __init__(self, hosts=4, hours=8, wrong=None, now_ns=None, confirm=CONFIRM):
        self.now_ns = now_ns or SYSTEM.now_ns()
        self.began_ns = self.now_ns - hours * HOUR
        self.voices = {}
        self.said = {
            f"h{number}": report(f"h{number}", consumer(f"vm-{number}", of(f"h{number}", 1))) for number in range(hosts)
        }
        #: Host -> from and until when its agent is away, and what it reports after that.
        self.away, self.back = {}, {}
        cell0 = [
            self.record(self.began_ns, "conductor/c", events.LogOpened("cell0", EPOCH)),
            self.record(self.began_ns, "scheduler/s", events.PolicyAdopted("0" * 16, "{}")),
        ]
        self.voices.clear()
        cell1 = [self.record(self.began_ns, "conductor/c", events.LogOpened("cell1", EPOCH))]
        told = [] if wrong is None else wrong[1](self, self.now_ns - wrong[0])
        moments = [(self.began_ns + 1 + number * SECOND, host, "report") for number, host in enumerate(self.said)]
        for number, host in enumerate(self.said):
            # The last ones confirmed nearly an interval ago.
            at_ns = self.began_ns + confirm + number * confirm // len(self.said)
            moments += [(at, host, "confirm") for at in range(at_ns, self.now_ns, confirm)]
        moments = [
            moment
            for moment in moments
            if not self.away.get(moment[1], (0, 0))[0] <= moment[0] < self.away.get(moment[1], (0, 0))[1]
        ]
        for at_ns, host, what in sorted(
            [*moments, *((at, None, payload) for at, payload in told)], key=lambda one: one[0]
        ):
            if host is None:
                cell1.append(what())
                continue
            said = self.back.get(host, self.said[host]) if at_ns > self.away.get(host, (0, 0))[1] else self.said[host]
            cell1.append(self.record(at_ns, f"compute_agent/{host}", said if what == "report" else confirmation(said)))
        self.payloads = {"cell0": cell0, "cell1": cell1}
        self.logs = {}
        for cell, payloads in self.payloads.items():
            self.logs[cell] = written(payloads)

    def voice(self, name):
        return self.voices.setdefault(name, Voice(name))

    def record(self, at_ns, name, *data):
        """A record of events of a producer."""
        return record_of(*(self.voice(name).say(one)._replace(at_ns=at_ns) for one in data))

    def later(self, at_ns, name, *data, epoch=None, skip=0, behind=0):
        """(Time, function of the record): it is made in its turn, as events are numbered."""

        def make():
            if epoch is not None:
                self.voice(name).restart(epoch)
            self.voice(name).sequence += skip
            return self.record(at_ns - behind, name, *data)

        return at_ns, make

    @property
    def options(self):
        return [word for cell, log in self.logs.items() for word in ("--log", f"{cell}={log.url}")]


def written(payloads):
    log = open_log(f"memory://quiet-{next(_names)}")
    log.append(payloads)
    return log


# --- what goes wrong ------------------------------------------------------------------------------------------------


def killed(cloud, at):
    """An agent is killed; what ran there is gone when it is started again."""
    cloud.away["h1"] = at - 1, at + 5 * MINUTE
    cloud.back["h1"] = back = report("h1")
    return [
        cloud.later(at + MINUTE, "conductor/c", events.HostLost("h1", "silent")),
        cloud.later(at + 5 * MINUTE, "compute_agent/h1", back, epoch=2),
        cloud.later(at + 5 * MINUTE, "conductor/c", events.HostSeen("h1")),
    ]


def lost(cloud, at):
    """A machine fails for good."""
    cloud.away["h1"] = at, cloud.now_ns + 1
    return [cloud.later(at + MINUTE, "conductor/c", events.HostLost("h1", "silent"))]


def removed(cloud, at):
    """It is taken out of the cloud."""
    return [*lost(cloud, at), cloud.later(at + 2 * MINUTE, "conductor/c", events.HostRemoved("h1", "sold"))]


def silent(cloud, at):
    """An agent ends, and no conductor is there to notice."""
    cloud.away["h1"] = at, cloud.now_ns + 1
    return []


def agents_gap(cloud, at):
    """Events of an agent are missing."""
    return [
        cloud.later(at, "compute_agent/h1", started("vm-x", "h1"), skip=3),
        cloud.later(at + SECOND, "compute_agent/h1", cloud.said["h1"]),
    ]


def agents_gap_that_stays(cloud, at):
    cloud.away["h1"] = at, cloud.now_ns + 1
    return agents_gap(cloud, at)[:1]


def schedulers_gap(cloud, at):
    return [
        cloud.later(at, "scheduler/s", claim("a", "nowhere")),
        cloud.later(at, "scheduler/s", claim("b", "nowhere"), skip=3),
    ]


def junk(cloud, at):
    return [(at, lambda: b"\xc1 junk")]


def newer(cloud, at):
    return [(at, lambda: codec.msgpack.packb([1, EPOCH, [["HostLost", "1.7", "conductor/x", 1, 1, at, ["a", "r"]]]]))]


def stale(cloud, at):
    """A scheduler whose clock went back, and that was renamed then."""
    return [
        cloud.later(at, "scheduler/old", claim("a", "nowhere"), epoch=5),
        cloud.later(at, "scheduler/old", claim("b", "nowhere"), epoch=4),
    ]


def stale_and_heard(cloud, at):
    return [*stale(cloud, at), cloud.later(at + SECOND, "scheduler/old", claim("c", "nowhere"), epoch=6)]


def backwards(cloud, at):
    return [
        cloud.later(at, "scheduler/s", claim("a", "nowhere")),
        cloud.later(at + 1, "scheduler/s", claim("b", "nowhere"), behind=90 * SECOND),
    ]


def divergence(cloud, at):
    """A host confirms what the log does not have, and reports when it is asked."""
    return [
        cloud.later(at, "compute_agent/h1", events.HostConfirmed("h1", 7)),
        cloud.later(at + SECOND, "compute_agent/h1", cloud.said["h1"]),
    ]


def divergence_that_stays(cloud, at):
    cloud.away["h1"] = at, cloud.now_ns + 1
    return divergence(cloud, at)[:1]


def unknown(cloud, at):
    """An agent publishes before its host is known."""
    said = report("new")
    cloud.away["new"] = 0, 0
    return [
        cloud.later(at, "compute_agent/new", confirmation(said)),
        cloud.later(at + 1, "compute_agent/new", said),
        *(
            cloud.later(number, "compute_agent/new", confirmation(said))
            for number in range(at + CONFIRM, cloud.now_ns, CONFIRM)
        ),
    ]


def slow(cloud, at):
    """A scheduler decided on a state of long ago, and not again since."""
    return [cloud.later(at, "scheduler/renamed", decision("vm", known=0))]


def failed(cloud, at):
    """Refused claims, failed builds and requests that failed are not faults of a log."""
    return [
        cloud.later(at, "scheduler/s", claim("a", "nowhere"), decision("none", known=10**6)),
        cloud.later(at, "conductor/c", events.BuildFailed(claim("a", "h1").instance_uuid, "req", "h1", 0, "no", True)),
    ]


def rebased(cloud, at):
    return [
        cloud.later(at, "conductor/c", events.LogRebased("cell1", 0)),
        *(
            cloud.later(at + 1 + number, f"compute_agent/{host}", said)
            for number, (host, said) in enumerate(cloud.said.items())
        ),
    ]


#: What goes wrong -> the row of check that shows it.
OVER = [
    (killed, "hosts"),
    (killed, "vanished"),
    (removed, "hosts"),
    (agents_gap, "sequence gaps"),
    (agents_gap, "unclaimed-start"),
    (schedulers_gap, "sequence gaps"),
    (junk, "set aside"),
    (newer, "set aside"),
    (stale, "stale epochs"),
    (stale_and_heard, "stale epochs"),
    (backwards, "clocks"),
    (divergence, "digest-mismatch"),
    (unknown, "unknown-host"),
    (slow, "reader scheduler/renamed"),
    (failed, None),
    (rebased, None),
]
#: The same for what was right before the end: it counts as lasting, unless something made it good.
AT_ONCE = {killed, removed, agents_gap, stale_and_heard, divergence, unknown, failed, rebased}


def found(capsys, command, cloud, *options):
    """(Exit code, rows that are not well: (check or code, state)) of a command."""
    code = replay([command, "-o", "json", "--no-cache", *cloud.options, *options])
    said = json.loads(capsys.readouterr().out)
    if command == "stats":
        return code, [("silent", one["host"]) for one in said["silent_hosts"]]
    return code, [(one.get("check") or one["code"], one["state"]) for one in said if one["state"] not in ("ok", "note")]


@pytest.mark.parametrize("hosts", [1, 2, 50])
@pytest.mark.parametrize("hours", [1, 8, 50])
def test_a_quiet_cloud(capsys, hosts, hours):
    cloud = Cloud(hosts, hours)
    for command in COMMANDS:
        assert found(capsys, command, cloud) == (0, []), command
    assert replay(["top", "--once", "--no-cache", *cloud.options]) == 0
    said = capsys.readouterr().out
    assert f"cell1: {hosts} host{'s' * (hosts > 1)}: {hosts} up\n" in said
    assert "conductor/c " in said.partition("last heard: ")[2] and "an idle service publishes nothing" in said
    assert replay(["state", "--no-cache", *cloud.options]) == 0
    said = capsys.readouterr().err
    assert f"{hosts} up; {number_of(hosts, 'agent')} heard; conductor/c" in said and "scheduler/s" in said


def test_it_is_quiet_wherever_it_ends(capsys):
    """A file of a log ends somewhere between two confirmations."""
    cloud = Cloud(3, 2)
    for count in range(1, len(cloud.payloads["cell1"])):
        cloud.logs = {"cell1": written(cloud.payloads["cell1"][:count])}
        for command in ("check", "stats", "quarantine"):
            assert found(capsys, command, cloud) == (0, []), (command, count)


def test_and_wherever_it_begins(capsys):
    """In a short stretch no host need say anything."""
    cloud = Cloud(3, 2)
    last = len(cloud.payloads["cell1"]) - 1
    for first in range(last):
        assert replay(["stats", f"cell1:{first}:{last}", "--no-cache", "-o", "json", *cloud.options]) == 0
        assert json.loads(capsys.readouterr().out)["silent_hosts"] == []


@pytest.mark.parametrize("wrong, check", OVER, ids=lambda one: getattr(one, "__name__", one))
def test_what_is_over(capsys, wrong, check):
    cloud = Cloud(wrong=(3 * HOUR, wrong))
    code, rows = found(capsys, "check", cloud)
    assert code == 0 and {state for _, state in rows} <= {"ended"}
    assert check is None or (check, "ended") in rows
    for command in COMMANDS[1:]:
        code, rows = found(capsys, command, cloud)
        assert code == 0 and {state for _, state in rows} <= {"ended"}, command


@pytest.mark.parametrize("wrong, check", OVER, ids=lambda one: getattr(one, "__name__", one))
def test_what_has_just_happened(capsys, wrong, check):
    cloud = Cloud(wrong=(8 * MINUTE, wrong))
    code, rows = found(capsys, "check", cloud)
    assert code == (wrong not in AT_ONCE)
    assert check is None or (check, "ended" if wrong in AT_ONCE else "wrong") in rows


@pytest.mark.parametrize(
    "wrong, command, row",
    [
        (lost, "check", ("hosts", "wrong")),
        (lost, "doctor", ("hosts", "fail")),
        (silent, "doctor", ("agents", "fail")),
        (silent, "stats", ("silent", "h1")),
    ],
)
def test_what_lasts(capsys, wrong, command, row):
    cloud = Cloud(wrong=(3 * HOUR, wrong))
    code, rows = found(capsys, command, cloud)
    assert row in rows and code == (command != "stats")


@pytest.mark.parametrize(
    "wrong, check", [(agents_gap_that_stays, "sequence gaps"), (divergence_that_stays, "digest-mismatch")]
)
def test_what_nobody_made_good(capsys, wrong, check):
    assert (check, "wrong") in found(capsys, "check", Cloud(wrong=(15 * MINUTE, wrong)))[1]


def test_all_agents_are_gone(capsys):
    """50 of 50, and their conductor: the log ends."""
    now_ns = SYSTEM.now_ns()
    cloud = Cloud(50, now_ns=now_ns - HOUR)
    code, rows = found(capsys, "doctor", cloud)
    assert code == 1 and rows == [("agents", "fail"), ("written", "warn")]
    replay(["doctor", "--no-cache", *cloud.options])
    assert "50 of 50 hosts are not marked as lost, but their agents have published nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    "at, silent, ago, longest",
    [
        ("last", 50, "60 min", "70 min"),
        ("now", 50, "60 min", "70 min"),
        ("-30m", 50, "30 min", "40 min"),
        ("-50m", 0, "10 min", "20 min"),
        # A position is the time of its record.
        ("cell0:last", 0, "0.0 s", "10 min"),
    ],
)
def test_who_was_silent_at_a_moment(capsys, at, silent, ago, longest):
    """All agents and their conductor ended an hour ago; cell0 had an event then."""
    cloud = Cloud(50, now_ns=SYSTEM.now_ns() - HOUR)
    cloud.logs["cell0"].append([cloud.record(cloud.now_ns, "scheduler/late", events.PolicyAdopted("1" * 16, "{}"))])
    assert replay(["state", "--at", at, "--no-cache", *cloud.options]) == 0
    said = capsys.readouterr().err
    heard = f"{50 - silent} agents heard" + f", {silent} silent" * (silent > 0)
    assert f"cell1: 50 hosts: 50 up; {heard}; conductor/c " in said
    assert f"scheduler/late {ago} " in said
    assert main(["host", "list", "--at", at, "--sort", "heard", "--no-cache", *cloud.options]) == 0
    assert f" {longest} " in capsys.readouterr().out.splitlines()[1]


def test_a_live_log_is_compared_with_the_present_and_a_file_with_its_end(capsys, tmp_path):
    cloud, path = Cloud(2, now_ns=SYSTEM.now_ns() - 100 * HOUR), tmp_path / "old.nslog"
    assert replay(["export", "-o", str(path), *cloud.options]) == 0
    for options, heard, ago in (
        (cloud.options, "0 agents heard, 2 silent", "4 d 12 h"),
        (["--log", str(path)], "2 agents heard", "7 h 57 min"),
    ):
        capsys.readouterr()
        assert replay(["state", "--no-cache", *options]) == 0
        assert f"cell1: 2 hosts: 2 up; {heard}; conductor/c {ago}" in capsys.readouterr().err
        assert replay(["top", "--once", "--no-cache", *options]) == 0
        assert f"last heard: conductor/c {ago}" in capsys.readouterr().out


def test_all_hosts_are_lost(capsys):
    def storm(cloud, at):
        cloud.away.update(dict.fromkeys(cloud.said, (at, cloud.now_ns + 1)))
        return [cloud.later(at + MINUTE, "conductor/c", *(events.HostLost(host, "silent") for host in cloud.said))]

    cloud = Cloud(50, wrong=(HOUR, storm))
    for command in ("doctor", "check"):
        assert replay([command, "--no-cache", *cloud.options]) == 1
        assert "50 hosts: 0 up, 50 lost" in capsys.readouterr().out
    assert replay(["state", "--no-cache", *cloud.options]) == 0
    assert "50 hosts: 0 up, 50 lost; 0 agents heard" in capsys.readouterr().err
    assert replay(["top", "--once", "--no-cache", *cloud.options]) == 0
    assert "50 hosts: 0 up, 50 lost" in capsys.readouterr().out
    assert replay(["stats", "--no-cache", *cloud.options]) == 0
    assert "50 hosts: 0 up, 50 lost at the end" in capsys.readouterr().out


@pytest.mark.parametrize(
    "facts, counts",
    [
        ({}, "1 host: 1 up"),
        ({"disabled": True}, "1 host: 0 up, 1 disabled"),
        ({"forced_down": True}, "1 host: 0 up, 1 forced down"),
        ({"forced_down": True, "disabled": True}, "1 host: 0 up, 1 forced down"),
    ],
)
def test_hosts_are_counted_by_what_they_are(capsys, facts, counts):
    cloud = Cloud(0)
    said = report("a", **facts)
    cloud.logs["cell1"].append([cloud.record(cloud.now_ns, "compute_agent/a", said)])
    for command in ("doctor", "check", "stats"):
        assert replay([command, "--no-cache", *cloud.options]) == 0
        assert counts in capsys.readouterr().out


# --- thresholds -----------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_services_own():
    from oslo_config import cfg

    from rpc_api import config

    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([])
    assert Intervals() == Intervals(
        conf.compute_agent.confirm_interval, conf.conductor.service_down_time, conf.scheduler.cell_down_after
    )
    assert Intervals().silent_ns == 1260 * SECOND and Intervals(silent=5.0).silent_ns == 5 * SECOND


@pytest.mark.parametrize(
    "options, silent",
    [
        ((), True),
        (("--silent", "2h"), False),
        (("--config-file",), False),
        (("--config-file", "--silent", "20m"), True),
    ],
)
def test_they_follow_the_configuration(capsys, tmp_path, options, silent):
    """Agents that confirm every hour are not silent where that is configured."""
    path = tmp_path / "nova_sched.conf"
    path.write_text("[compute_agent]\nconfirm_interval = 3600\n[conductor]\nservice_down_time = 300\n")
    options = [word for option in options for word in ((option, str(path)) if option == "--config-file" else (option,))]
    cloud = Cloud(2, confirm=HOUR, now_ns=SYSTEM.now_ns() - 40 * MINUTE)
    assert found(capsys, "doctor", cloud, *options)[0] == silent
    assert found(capsys, "check", cloud, *options)[0] == 0


def test_a_configuration_that_is_none(capsys, tmp_path):
    assert replay(["check", *Cloud(1, 1).options, "--config-file", str(tmp_path / "none.conf")]) == 2
    assert "none.conf" in capsys.readouterr().err


# --- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said, end",
    [
        ([], None),
        ([("a", 5)], 5),
        ([("a", 5), ("b", 7)], 7),
        # One witness may be wrong itself.
        ([("a", HOUR), ("b", 7)], HOUR),
        ([("a", HOUR), ("b", 7), ("c", 8)], 8),
        ([("b", 7), ("c", 8), ("a", HOUR)], HOUR),
        ([("a", HOUR), ("b", 7), ("b", 8), ("b", 9)], HOUR),
    ],
)
def test_the_end_of_a_log_by_clocks_that_may_be_wrong(said, end):
    heard = LastHeard()
    for producer, at_ns in said:
        heard.see(producer, at_ns)
    assert heard.end_ns() == end


# --- logs that do not go on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, code", [(None, 0), ((3 * HOUR, killed), 0), ((3 * HOUR, lost), 1), ((3 * HOUR, silent), 1)]
)
def test_an_exported_file_is_judged_by_its_own_end(capsys, tmp_path, wrong, code):
    """It may be of last week."""
    cloud, path = Cloud(4, 8, wrong, SYSTEM.now_ns() - 200 * HOUR), tmp_path / "old.nslog"
    assert replay(["export", "-o", str(path), *cloud.options]) == 0
    capsys.readouterr()
    for command in ("doctor", "check"):
        assert replay([command, "--no-cache", "--log", str(path)]) == (
            code if wrong is None or wrong[1] is not silent or command == "doctor" else 0
        )


# --- services, asked over RPC ---------------------------------------------------------------------------------------


def test_doctor_asks_services(capsys, tmp_path, monkeypatch):
    from nova_sched.cli.intervals import configuration
    from nova_sched.replay.health import asking
    from rpc_api.bus import MessagingBus

    monkeypatch.setattr(asking, "TIMEOUT", 0.5)
    path = tmp_path / "nova_sched.conf"
    path.write_text(
        "[DEFAULT]\ntransport_url = fake://\n[scheduler]\nrpc_topic = asked\n[conductor]\n"
        "rpc_topic = asked_c\n[cells]\nenabled = cell1\n[cell:cell1]\nlog = memory://none\n"
    )
    cloud = Cloud(1, 1)
    options = ("--ask", "--config-file", str(path))
    code, rows = found(capsys, "doctor", cloud, *options)
    assert code == 1 and rows == [("schedulers", "fail"), ("API conductors", "fail"), ("conductors", "fail")]
    bus = MessagingBus(configuration([str(path)]))
    servers = [
        bus.serve(topic, "one", [object()], version)
        for topic, version in (("asked", "4.5"), ("asked_c", "1.1"), ("asked_c.cell.cell1", "1.1"))
    ]
    assert found(capsys, "doctor", cloud, *options) == (0, [])
    servers[1].stop()
    assert found(capsys, "doctor", cloud, *options) == (1, [("API conductors", "fail")])
    # Nova's own conductors call the schedulers where all hosts are Nova's.
    found_here = {one.check: one for one in asking.of_services(configuration([str(path)]), has_agents=False)}
    assert found_here["API conductors"].state == "ok" and "none is needed" in found_here["API conductors"].found
    for server in servers[::2]:
        server.stop()
    bus.close()
