"""Services, policies, conflicts, usage, fragmentation, trends: of recorded logs, and of small ones with known sums."""

import csv
import io
import json

import pytest

from nova_sched.cli.main import main
from nova_sched.selection.policy import Policy
from rpc_api import codec, events
from rpc_api.log import open_log
from tests.builders import (
    AT_NS,
    EPOCH,
    Voice,
    claim,
    consumer,
    consumer_put,
    decision,
    inventory_of,
    of,
    provider,
    put,
    report,
    request,
    rule,
    tree,
    uuid_of,
)
from tests.nova_sched.cli.operated import Cloud

DEMO, LEDGER = "docs/operating/demo.nslog", "docs/operating/ledger.nslog"


@pytest.fixture
def ask(capsys, monkeypatch, tmp_path):
    """(Exit code, the JSON, errors) of a command on a recorded log."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def run(log, *words, form="json"):
        code = main([*words, "--log", log, "-o", form])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, (json.loads(out) if form == "json" and out else out), err

    return run


@pytest.fixture
def cloud(tmp_path, capsys):
    return Cloud(tmp_path, capsys)


# --- services --------------------------------------------------------------------------------------------------------


def test_services_of_recorded_logs(ask):
    code, rows, _ = ask(DEMO, "service", "list")
    assert code == 0 and {row["level"] for row in rows} == {1}
    assert [(row["service"], row["name"], row["cell"], row["status"], row["hosts"]) for row in rows] == [
        ("scheduler", "scheduler-1", "cell0", "idle?", None),
        ("scheduler", "scheduler-2", "cell0", "idle?", None),
        ("conductor", "cell1", "cell1", "idle?", None),
        ("scheduler", "scheduler-1", "cell1", "idle?", None),
        ("scheduler", "scheduler-2", "cell1", "idle?", None),
        ("compute_agent", "agents-cell1", "cell1", "heard", 120),
    ]
    _, rows, _ = ask(LEDGER, "service", "list")
    assert {row["service"]: row["level"] for row in rows}["placement"] == 4


@pytest.mark.parametrize(
    "said, status, code",
    [
        ([], "heard", 0),
        ([events.HostLost("a", "silent")], "lost", 1),
        ([events.HostLost("a", "silent"), events.HostSeen("a")], "heard", 0),
    ],
)
def test_the_status_of_an_agent(cloud, said, status, code):
    cloud.say(report("a"))
    for data in said:
        cloud.say(data)
    # The events of the builders are of 2023: for a live log an agent is silent since then.
    found, out, err = cloud.run("service", "list", "--agents", "-o", "json", "--silent", "9000d")
    (row,) = [row for row in json.loads(out) if row["service"] == "compute_agent"]
    assert (found, row["status"], row["name"], row["hosts"]) == (code, status, "agent-of-a", 1)
    if code:
        assert "compute_agent/agent-of-a of cell1 is lost" in err
    elif not said:
        found, out, err = cloud.run("service", "list", "-o", "json")
        assert found == 1 and "agent-of-a of cell1 is silent" in err


# --- policies --------------------------------------------------------------------------------------------------------


def adopted(**options):
    policy = Policy(**options)
    return events.PolicyAdopted(policy.digest, policy.to_json())


def test_who_adopted_what_and_what_changed(cloud):
    first, second = adopted(), adopted(host_subset_size=3)
    cloud.say(first, cell="cell0", by="scheduler/one")
    cloud.say(first, cell="cell0", by="scheduler/two")
    cloud.say(second, cell="cell0", by="scheduler/one")
    cloud.say(second, cell="cell0", by="scheduler/one")
    code, out, err = cloud.run("policy", "history", "-o", "json")
    rows = json.loads(out)
    assert [(row["service"], row["digest"], row["changes"]) for row in rows] == [
        ("scheduler/one", first.digest, []),
        ("scheduler/two", first.digest, []),
        ("scheduler/one", second.digest, ["host_subset_size 1 -> 3"]),
        ("scheduler/one", second.digest, []),
    ]
    assert code == 1 and "2 policies are in use" in err and f"{first.digest} was adopted last by scheduler/two" in err
    for name in ("two", "scheduler/two"):
        code, out, err = cloud.run("policy", "history", "--gone", name)
        assert code == 0 and "policies are in use" not in err and "scheduler/two" in out
    code, out, err = cloud.run("policy", "history", "--gone", "two", "--gone", "nobody")
    assert (code, out) == (
        1,
        "",
    ) and "no scheduler 'nobody' adopted a policy in the logs, wanted one of one, two" in err
    assert len(cloud.rows("policy", "history", "--changes")) == 3
    assert len(cloud.rows("policy", "history", "--service", "scheduler/two")) == 1
    (row,) = cloud.rows("policy", "history", "--digest", second.digest[:6], "--full", "--changes")
    assert row["changes"]["host_subset_size"] == 3
    cloud.say(second, cell="cell0", by="scheduler/two")
    code, out, err = cloud.run("policy", "history")
    assert code == 0 and "the same again" in out and "the defaults" in out
    code, _, err = cloud.run("policy", "history", "--digest", "ffff")
    assert code == 1 and err.startswith("no policy was adopted that is as wanted\n")


# --- conflicts -------------------------------------------------------------------------------------------------------


def test_who_lost_against_whom(cloud):
    """Host a has 8 VCPUs: the third claim loses against the second one, and a member of a group against the first."""
    cloud.say(report("a"))
    cloud.say(report("b"))
    cloud.say(claim("x", "a", of("a", 4)), by="scheduler/one")
    cloud.say(claim("y", "a", of("a", 4)), by="scheduler/two")
    cloud.say(claim("z", "a", of("a", 4)), by="scheduler/one")
    cloud.say(claim("m1", "b", rule=rule(partition=uuid_of("m1"))), by="scheduler/one")
    cloud.say(claim("v", "b"), by="conductor/c")
    cloud.say(claim("m2", "b", rule=rule(partition=uuid_of("m2"))), by="scheduler/two")
    pairs = cloud.rows("conflicts", "--by", "pair")
    assert pairs == [
        {"lost_by": "scheduler/one", "won_by": "scheduler/two", "conflicts": 1},
        {"lost_by": "scheduler/two", "won_by": "scheduler/one", "conflicts": 1},
    ]
    assert cloud.rows("conflicts") == [
        {"cell": "cell1", "host": "a", "conflicts": 1, "claims": 3, "share": 33.3},
        {"cell": "cell1", "host": "b", "conflicts": 1, "claims": 2, "share": 50.0},
    ]
    reasons = {row["reason"]: row["conflicts"] for row in cloud.rows("conflicts", "--by", "reason")}
    assert reasons == {"VCPU": 1, "anti-affinity: the group has reached its limit": 1}
    (row,) = cloud.rows("conflicts", "--by", "each", "--host", "b")
    assert row["reason"] == "anti-affinity: 1 of the group in host, limit 1"
    (row,) = cloud.rows("conflicts", "--by", "each", "--host", "a")
    assert (row["host"], row["reason"], row["lost_by"]) == ("a", "VCPU", "scheduler/one")
    code, _, err = cloud.run("conflicts", "--limit", "1")
    assert code == 0 and err == "2 of 5 claims of schedulers lost (40.0 %)\n"


def test_conflicts_of_a_recorded_log_are_those_that_other_tools_count(ask):
    _, rows, err = ask(DEMO, "conflicts", "--by", "host")
    assert sum(row["conflicts"] for row in rows) == 189 and err.startswith("189 of 771 claims")
    for by in ("pair", "reason"):
        assert sum(row["conflicts"] for row in ask(DEMO, "conflicts", "--by", by)[1]) == 189
    _, out, _ = ask(DEMO, "conflicts", "--by", "time", "--interval", "1s", form="csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert sum(int(row["conflicts"]) for row in rows) == 189 and sum(int(row["claims"]) for row in rows) == 771
    assert len(ask(DEMO, "conflicts", "cell1:0:100", "--by", "each")[1]) < 189


def test_conflicts_of_one_host(cloud):
    """The claims of other hosts are not in the share of one."""
    for name in "abc":
        cloud.say(report(name))
    for number in range(3):
        cloud.say(claim(f"x{number}", "a", of("a", 4)), by=f"scheduler/{number}")
    for number in range(5):
        cloud.say(claim(f"y{number}", "b"), by="scheduler/0")
    code, out, err = cloud.run("conflicts", "--host", "a", "--by", "time", "-o", "json")
    (row,) = json.loads(out)
    assert code == 0 and (row["conflicts"], row["claims"], row["share"]) == (1, 3, 33.3)
    assert err == "1 of 3 claims of schedulers on a lost (33.3 %)\n"
    assert cloud.run("conflicts", "--host", "c")[::2] == (0, "0 of 0 claims of schedulers on c lost\n")


def test_conflicts_of_an_unknown_host_are_refused(cloud):
    for name in ("compute-1", "old"):
        cloud.say(report(name))
        cloud.say(claim(f"x on {name}", name), by="scheduler/one")
    cloud.say(events.HostRemoved("old", "gone"))
    code, out, err = cloud.run("conflicts", "--host", "compute-2")
    assert (code, out) == (1, "")
    assert "the logs know no host 'compute-2', of 1 host; there are compute-1; name another" in err
    # A host that was removed since has its claims in the log.
    assert cloud.run("conflicts", "--host", "old")[::2] == (0, "0 of 1 claim of schedulers on old lost (0.0 %)\n")


def test_what_is_no_conflict(cloud):
    """A claim for a host that was lost, disabled or removed lost against nobody."""
    for name in "abc":
        cloud.say(report(name))
        cloud.say(claim(f"first on {name}", name), by="scheduler/one")
    cloud.say(events.HostLost("a", "silent"))
    cloud.say(report("b", disabled=True))
    for name in "abcd":
        cloud.say(claim(f"second on {name}", name), by="scheduler/two")
    code, out, err = cloud.run("conflicts", "--by", "each", "-o", "json")
    assert (code, json.loads(out)) == (0, [])
    assert err == (
        "0 of 7 claims of schedulers lost (0.0 %)\n"
        "3 more refused, not because of another claim: down 1, disabled 1, unknown host 1\n"
    )
    rows = cloud.rows("trend", "--columns", "time,conflicts")
    assert sum(row["conflicts"] for row in rows) == 0


def test_who_won_when_no_claim_did(cloud):
    """Nova's write took the room of one claim; another request for the same instance took the place of the second."""
    cloud.nova_host("n")
    cloud.say(report("a"))
    cloud.say(claim("x", "n"), by="scheduler/one")
    cloud.say(put(consumer_put("vm", of("n", 7))), by="placement/api")
    cloud.say(claim("y", "n"), by="scheduler/two")
    cloud.say(claim("z", "a"), by="scheduler/one")
    cloud.say(claim("other", "a"), by="scheduler/three")
    cloud.say(claim("z", "a", attempt="again"), by="scheduler/two")
    rows = cloud.rows("conflicts", "--by", "each")
    assert [(row["host"], row["reason"], row["won_by"]) for row in rows] == [
        ("n", "VCPU", "placement/api"),
        ("a", "the consumer holds resources already", "scheduler/one"),
    ]


# --- usage -----------------------------------------------------------------------------------------------------------


def test_usage_adds_up(ask):
    totals = set()
    for by in ("flavor", "project", "cell", "zone"):
        _, rows, _ = ask(DEMO, "usage", "--by", by)
        totals.add((sum(row["instances"] for row in rows), sum((row["VCPU"] or {"used": 0})["used"] for row in rows)))
    assert totals == {(568, 5252)}
    _, rows, _ = ask(DEMO, "usage", "--by", "flavor", "--limit", "1")
    assert rows == [
        {
            "flavor": "play-4-8192",
            "instances": 134,
            "hosts": 61,
            "VCPU": {"used": 536, "capacity": None},
            "MEMORY_MB": {"used": 1097728, "capacity": None},
        }
    ]


@pytest.mark.parametrize(
    "by, rows",
    [
        ("project", {"project": (1, 1), "web": (2, 1)}),
        ("type", {"(not known)": (1, 1), "INSTANCE": (1, 1), "VOLUME": (1, 0)}),
        ("user", {"(not known)": (1, 1), "ada": (1, 0), "u": (1, 1)}),
        ("flavor", {"(not known)": (3, 2)}),
    ],
)
def test_usage_of_a_ledger(ask, by, rows):
    _, found, _ = ask(LEDGER, "usage", "--by", by)
    assert {row[by]: (row["instances"], row["hosts"]) for row in found} == rows


def test_hosts_without_an_aggregate(cloud):
    cloud.say(report("a", consumer("vm", of("a", 2))))
    cloud.say(report("b"))
    made = events.AggregateUpdated(uuid_of("rack"), "rack", ("a",), {"availability_zone": "east"})
    cloud.say(made, cell="cell0", by="operator/ada")
    rows = {row["aggregate"]: row for row in cloud.rows("usage", "--by", "aggregate")}
    assert rows["rack"]["VCPU"] == {"used": 2, "capacity": 8} and rows["(none)"]["instances"] == 0
    assert {row["zone"]: row["hosts"] for row in cloud.rows("usage", "--by", "zone")} == {"east": 1, "nova": 1}


def test_an_instance_that_moves_is_counted_once(cloud):
    """Its migration holds the source, the instance itself the destination: two holders, and one instance."""
    for name in "ab":
        cloud.nova_host(name)
    cloud.say(decision("vm", "a", asked=request(flavor_name="m1.old")), by="scheduler/one")
    cloud.say(put(consumer_put("vm", of("a", 2))), by="placement/api")
    cloud.say(put(consumer_put("migration", of("a", 2)), consumer_put("vm")), by="placement/api")
    cloud.say(put(consumer_put("vm", of("b", 4))), by="placement/api")
    # (A resize that found no host does not change the flavor.)
    cloud.say(decision("vm", asked=request(flavor_name="m1.huge")), by="scheduler/one")
    for by, name, hosts in (("project", "p", 2), ("flavor", "m1.old", 2), ("zone", "nova", 2), ("cell", "cell1", 2)):
        (row,) = cloud.rows("usage", "--by", by)
        assert (row[by], row["instances"], row["hosts"], row["VCPU"]["used"]) == (name, 1, hosts, 6), by
    assert sum(row["VCPU"]["used"] for row in cloud.rows("host", "list")) == 6


def test_the_default_zone_is_that_of_the_schedulers(cloud):
    cloud.say(report("a"))
    for zone, by in (("east", "scheduler/one"), ("tried", "shadow/one")):
        policy = Policy(default_availability_zone=zone)
        cloud.say(events.PolicyAdopted(policy.digest, policy.to_json()), cell="cell0", by=by)
    assert [row["zone"] for row in cloud.rows("usage", "--by", "zone")] == ["east"]
    assert [row["zone"] for row in cloud.rows("host", "list", "--zone", "east")] == ["east"]
    assert cloud.run("dry-run", "1:512", "--availability-zone", "east")[0] == 0


@pytest.mark.parametrize("by, columns", [("zone", ["VCPU_used", "VCPU_capacity"]), ("project", ["VCPU"])])
def test_usage_in_a_spreadsheet_is_numbers(ask, by, columns):
    _, out, _ = ask(DEMO, "usage", "--by", by, form="csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows and list(rows[0])[3 : 3 + len(columns)] == columns
    assert all(row[name].isdecimal() for row in rows for name in list(row)[1:])


# --- fragmentation ---------------------------------------------------------------------------------------------------


def sized(name, vcpus, memory_mb, *running):
    root = provider(name, inventory_of("VCPU", vcpus), inventory_of("MEMORY_MB", memory_mb))
    return report(name, *running, inventory=tree(name)._replace(providers=(root,)))


def test_room_in_pieces_and_stranded_room(cloud):
    """Two hosts have 3 VCPUs free each: one instance of 4 fits on neither, and would fit into both together. The third
    one has no memory left, so its VCPUs are stranded."""
    cloud.say(sized("a", 8, 8192, consumer("x", of("a", 5), of("a", 1024, "MEMORY_MB"))))
    cloud.say(sized("b", 8, 8192, consumer("y", of("b", 5), of("b", 1024, "MEMORY_MB"))))
    cloud.say(sized("c", 8, 8192, consumer("z", of("c", 2), of("c", 8192, "MEMORY_MB"))))
    (row,) = cloud.rows("fragmentation", "4:1024", "--default-policy")
    assert (row["fits"], row["in_one_piece"], row["fragmented"], row["hosts_with_room"]) == (0, 3, 100.0, 0)
    (row,) = cloud.rows("fragmentation", "3:1024", "--default-policy")
    assert (row["fits"], row["in_one_piece"], row["hosts_with_room"]) == (2, 4, 2) and row["fragmented"] == 50.0
    hosts = cloud.rows("fragmentation", "2:1024", "--hosts", "--default-policy")
    assert {row["host"]: row["stranded"] for row in hosts} == {
        "a": {"VCPU": 1, "MEMORY_MB": 6144},
        "b": {"VCPU": 1, "MEMORY_MB": 6144},
        "c": {"VCPU": 6},
    }


def test_a_disabled_host_has_no_room_at_all(cloud):
    cloud.say(report("a"))
    cloud.say(report("b", disabled=True))
    (row,) = cloud.rows("fragmentation", "4:1024", "--default-policy")
    assert (row["fits"], row["in_one_piece"], row["fragmented"]) == (2, 2, 0.0)


def test_flavors_of_a_recorded_log(ask):
    _, rows, _ = ask(DEMO, "fragmentation", "play-32-65536", "8:32768")
    assert [(row["flavor"], row["fits"]) for row in rows] == [("play-32-65536", 34), ("8:32768", 146)]
    code, _, err = ask(DEMO, "fragmentation", "m1.large")
    assert code == 1 and "no recorded request asks for a flavor 'm1.large', wanted one of play-16-65536" in err
    code, _, err = ask(LEDGER, "fragmentation")
    assert code == 1 and "no recorded request names a flavor" in err


# --- trends ----------------------------------------------------------------------------------------------------------


def test_a_row_for_each_interval(ask):
    code, out, _ = ask(DEMO, "trend", "--interval", "1s", form="csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [row["time"][11:19] for row in rows] == [f"12:10:{second}" for second in range(28, 34)]
    assert sum(int(row["decisions"]) for row in rows) == 789 and sum(int(row["conflicts"]) for row in rows) == 189
    assert sum(int(row["no_valid_host"]) for row in rows) == 18 and rows[-1]["instances"] == "568"
    assert (rows[-1]["VCPU_used"], rows[-1]["VCPU_capacity"], rows[-1]["hosts_up"]) == ("5252", "9416", "120")
    used = [int(row["VCPU_used"]) for row in rows]
    assert used == sorted(used)


def test_intervals_without_a_record_have_the_state_of_before(ask):
    """The records of the ledger are a second apart; the first host comes with the fourth record."""
    _, rows, _ = ask(LEDGER, "trend", "--interval", "500ms")
    assert len(rows) == 2 * 24 - 1
    for before, after in zip(rows[::2], rows[1::2], strict=False):
        assert {**before, "time": None} == {**after, "time": None}


def test_columns_of_trends(ask):
    _, out, _ = ask(DEMO, "trend", "--columns", "time,VCPU_used", form="csv")
    assert out.splitlines()[0] == "time,VCPU_used"
    code, _, err = ask(DEMO, "trend", "--columns", "time,GPU_used")
    assert code == 2 and "there is no column 'GPU_used', wanted some of time, hosts_up" in err
    code, rows, err = ask(DEMO, "trend", "@2020-01-01T00:00:00Z..2020-01-02T00:00:00Z")
    assert (code, rows) == (0, []) and err.endswith("no record is in this range\n")
    code, _, err = ask(DEMO, "trend", "--interval", "never")
    assert code == 2 and "--interval is 'never'" in err


def test_a_quiet_cell_is_in_every_row(tmp_path, capsys):
    """A cell whose records came before the range, or come later in it, has its state of before in all rows."""
    logs = []
    for cell, minutes in (("cell1", (0, 90)), ("cell2", (0, 240)), ("cell3", (0,))):
        url = f"sqlite:///{tmp_path}/{cell}.db"
        with open_log(url) as log:
            log.append([codec.encode_record(EPOCH, [Voice("operator/opener").say(events.LogOpened(cell, EPOCH))])])
            for number, minute in enumerate(minutes):
                event = Voice(f"compute_agent/{cell}-{number}").say(report(f"{cell}-{number}"))
                log.append([codec.encode_record(EPOCH, [event._replace(at_ns=AT_NS + minute * 60 * 10**9)])])
        logs += ["--log", f"{cell}={url}"]
    begin = (AT_NS // 10**9) + 60
    assert main(["trend", f"@{begin}:", "--interval", "1h", "-o", "json", "--no-cache", *logs]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["hosts_up"], row["VCPU_capacity"]) for row in rows] == [(4, 32)] * 3 + [(5, 40)]
