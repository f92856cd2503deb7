"""state, diff, instances, capacity, stats and top on the logs of a played cloud."""

import csv
import io
import json
import re
import sys

import pytest

from nova_sched.cli.main import main, replay
from nova_sched.replay.state import history
from rpc_api import events
from rpc_api.log import open_log
from tests.builders import claim, report, started, uuid_of
from tests.nova_sched.replay.logs import Written


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def told(played, capsys):
    """Run a command on the played logs; returns (exit code, stdout, stderr)."""

    def run(*arguments, log=str(played)):
        code = replay([*arguments, "--log", log] if log else list(arguments))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def placements(played):
    """(Instance, host) of what was built."""
    with open(played / "placements.csv") as file:
        return {(row["instance"], row["host"]) for row in csv.DictReader(file) if row["outcome"] == "built"}


def written_db(path, *said, cell="cell1"):
    written = Written(*said, cell=cell, url=f"sqlite:///{path}")
    written.log.close()
    return f"{cell}=sqlite:///{path}"


# --- state ----------------------------------------------------------------------------------------------------------


def test_state_of_all_hosts(told):
    code, out, err = told("state")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 17 and lines[0].split()[:4] == ["cell", "host", "status", "instances"]
    assert re.search(r"cell1: position \d+, 20\d\d-.*Z, 8 hosts, digest [0-9a-f]{32}", err)


def test_state_as_data(told):
    rows = json.loads(told("state", "-o", "json")[1])
    assert len(rows) == 16 and all(row["VCPU"]["used"] <= row["VCPU"]["capacity"] for row in rows)
    assert [json.loads(line) for line in told("state", "-o", "ndjson")[1].splitlines()] == rows
    table = list(csv.DictReader(io.StringIO(told("state", "-o", "csv", "--columns", "host,VCPU,status")[1])))
    assert [list(row) for row in table[:1]] == [["host", "VCPU_used", "VCPU_capacity", "status"]] and len(table) == 16
    used = {row["host"]: (row["VCPU"]["used"], row["VCPU"]["capacity"]) for row in rows}
    assert {row["host"]: (int(row["VCPU_used"]), int(row["VCPU_capacity"])) for row in table} == used


def test_state_sorted_and_limited(told):
    rows = json.loads(told("state", "-o", "json", "--sort", "VCPU:desc")[1])
    shares = [row["VCPU"]["used"] / row["VCPU"]["capacity"] for row in rows]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1]
    code, out, err = told("state", "--sort", "instances:desc", "--limit", "3", "host-1*")
    assert code == 0 and len(out.splitlines()) == 4 and "3 of 7 hosts" in err


def test_state_of_one_host(told, played):
    rows = json.loads(told("state", "-o", "json", "--sort", "instances:desc")[1])
    name = rows[0]["host"]
    code, out, _ = told("state", name)
    assert code == 0 and out.startswith(f"{name} in cell") and f"{rows[0]['instances']} instances" in out
    assert "MEMORY_MB" in out and "rack" in out
    one = json.loads(told("state", name, "-o", "json")[1])
    built = {instance for instance, host in placements(played) if host == name}
    assert built and built <= {row["instance"] for row in one["instances"]}
    assert all(re.fullmatch(r"20\d\d-.*Z", row["since"]) for row in one["instances"])
    assert told("state", name, "--columns", "host,status")[1].splitlines()[0].split() == ["host", "status"]


def test_state_at_moments(told):
    assert told("state", "--at", "first")[2].startswith("cell0: position 0")
    code, _, err = told("state", "--at", "cell1:12")
    assert code == 0 and "cell1: position 12," in err
    digest = re.search(r"cell1: .* digest (\w+)", err)[1]
    again = told("state", "--at", "cell1:12")[2]
    assert digest in again


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["state", "nowhere"], 1, "there is no host 'nowhere'"),
        (["state", "--sort", "shoe"], 2, "cannot sort by 'shoe'"),
        (["state", "--columns", "host,shoe"], 2, "there is no column 'shoe'"),
        (["state", "--at", "soon"], 2, "is not a moment"),
        (["state", "--at", "cell1:999999"], 4, "ends at position"),
        (["state", "--at", "7"], 2, "needs the name of a cell"),
        (["state", "--limit", "0"], 2, "wanted 1 or more"),
        (["state", "host-1", "-o", "csv"], 2, "does not fit into CSV"),
        (["diff", "last", "first"], 2, "earlier one first"),
        (["diff", "first", "last", "nowhere"], 1, "no host 'nowhere'"),
        (["instances", "--sort", "shoe"], 2, "cannot sort by 'shoe'"),
        (["instances", "--limit", "0"], 2, "wanted 1 or more"),
        (["instances", "--marker", "nobody"], 2, "there is no instance nobody"),
        (["capacity"], 2, "or --like REQUEST is needed"),
        (["capacity", "m1.none"], 1, "wanted one of play-"),
        (["capacity", "--like", "req-none"], 1, "no decision for req-none"),
        (["capacity", "0:0:0"], 2, "asks for nothing"),
        (["stats", "--interval", "soon"], 2, "wanted a time such as 10s"),
        (["stats", "x:y:z"], 2, "is not a range"),
        (["top", "--replay", "0"], 2, "wanted a number above 0"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(told, arguments, code, said):
    found, out, err = told(*arguments)
    assert (found, out) == (code, "") and said in err and "Traceback" not in err


def test_an_empty_log_has_a_state(told, tmp_path):
    with open_log(f"sqlite:///{tmp_path}/empty.db"):
        pass
    for command in (["state"], ["instances"], ["stats"], ["top", "--once"], ["diff", "last", "last"]):
        assert told(*command, log=f"cell1=sqlite:///{tmp_path}/empty.db")[0] == 0
    assert told("capacity", "1:1", log=f"cell1=sqlite:///{tmp_path}/empty.db")[0] == 1


def test_a_cell_whose_beginning_is_gone_is_said_and_the_others_shown(capsys, tmp_path):
    from tests.nova_sched.replay.test_history import without_front

    one = written_db(tmp_path / "log.db", report("a"), report("b"))
    other = written_db(tmp_path / "other.db", report("c"), cell="cell2")
    without_front(2, tmp_path)
    assert replay(["state", "--log", one, "--log", other]) == 4
    said = capsys.readouterr()
    assert "c" in said.out and "begins at position 2" in said.err
    for command in (["state"], ["diff", "last", "last"]):
        assert replay([*command, "--log", one]) == 4
    assert replay(["instances", "--log", one, "--log", other]) == 4
    assert "its instances are not known" in capsys.readouterr().err
    assert replay(["stats", "--log", one, "--log", other]) == 4
    assert "not counted" in capsys.readouterr().err


def test_hostile_names_cannot_write_to_the_terminal(capsys, tmp_path):
    name = "h\x1b[31m\nx"
    log = written_db(tmp_path / "log.db", report(name), claim("vm", name), started("vm", name))
    for command in (
        ["state"],
        ["state", "h*"],
        ["diff", "first", "last"],
        ["instances"],
        ["stats"],
        ["top", "--once"],
        ["capacity", "1:1"],
    ):
        replay([*command, "--log", log])
        said = capsys.readouterr()
        assert "\x1b" not in said.out + said.err and "\\x1b" in said.out


# --- diff -----------------------------------------------------------------------------------------------------------


def test_diff_names_the_events(told, played):
    code, out, err = told("diff", "first", "last", "-o", "json")
    changes = json.loads(out)
    came = {(change["what"], change["host"]): change for change in changes if change["change"] == "came"}
    assert code == 0 and placements(played) <= came.keys()
    assert all("ClaimProposed" in [cause["name"] for cause in one["causes"]] for one in came.values())
    assert re.search(rf"{len(changes)} changes on 16 hosts: 16 added, .*{len(came)} came", err)


def test_diff_of_hosts_alone_and_its_exit_code(told):
    out = told("diff", "first", "last", "host-1", "--hosts-only")[1]
    assert {line.split()[1:3][1] for line in out.splitlines()[1:]} == {"added", "free"}
    assert told("diff", "first", "last", "--exit-code")[0] == 1
    code, out, err = told("diff", "last", "last", "--exit-code")
    assert (code, len(out.splitlines())) == (0, 1) and "0 changes on 0 hosts" in err


# --- instances ------------------------------------------------------------------------------------------------------


def test_instances_are_those_that_were_built(told, played):
    code, out, _ = told("instances", "-o", "json")
    rows = json.loads(out)
    assert code == 0 and {(row["instance"], row["host"]) for row in rows if row["state"] == "running"} == placements(
        played
    )
    assert all(
        row["flavor"].startswith("play-") and row["project"] == "play" and row["resources"]["VCPU"] for row in rows
    )
    assert "flavor" not in told("instances", "--no-flavors", "-o", "csv")[1].splitlines()[0].split(",")


def test_instances_are_filtered(told):
    rows = json.loads(told("instances", "-o", "json")[1])
    host = rows[0]["host"]
    for arguments, wanted in (
        (["--host", host], lambda row: row["host"] == host),
        (["--cell", "cell2"], lambda row: row["cell"] == "cell2"),
        (
            ["--host", "host-1*", "--cell", "cell1"],
            lambda row: row["cell"] == "cell1" and row["host"].startswith("host-1"),
        ),
        (["--state", "claimed"], lambda row: row["state"] == "claimed"),
        (["--project", "nobody"], lambda row: False),
        (["--instance", rows[3]["instance"]], lambda row: row["instance"] == rows[3]["instance"]),
    ):
        assert json.loads(told("instances", "-o", "json", *arguments)[1]) == [row for row in rows if wanted(row)]


@pytest.mark.parametrize("sort", ["instance", "host:desc", "since", "since:desc", "cell"])
def test_pages_together_are_the_whole(told, sort):
    whole = [row["instance"] for row in json.loads(told("instances", "-o", "json", "--sort", sort)[1])]
    pages, marker = [], []
    for _ in range(20):
        _, out, err = told("instances", "-o", "json", "--sort", sort, "--limit", "11", *marker)
        pages += [row["instance"] for row in json.loads(out)]
        found = re.search(r"--marker (\S+)", err)
        if found is None:
            break
        marker = ["--marker", found[1]]
    assert pages == whole and len(whole) > 22


def test_instances_of_a_cell_that_is_down(told, played, tmp_path, monkeypatch, capsys):
    """From the store of the schedulers' snapshots, or from what an earlier command kept; never for nothing."""
    logs = {cell: f"{cell}=sqlite:///{played}/log.{cell}.db" for cell in ("cell1", "cell2")}
    gone = tmp_path / "gone.db"
    gone.write_bytes((played / "log.cell2.db").read_bytes())
    down = f"cell2=sqlite:///{gone}"
    wanted = json.loads(told("instances", "-o", "json", "--cell", "cell2")[1])
    monkeypatch.setattr(history, "EVERY", 1)
    monkeypatch.setattr(history, "EVERY_A_HOLDER", 0)
    assert replay(["instances", "--log", logs["cell1"], "--log", down]) == 0
    assert main(["snapshot", "--log", down, "--to", f"file://{tmp_path}/store"]) == 0
    gone.unlink()
    capsys.readouterr()
    for more in ([], ["--no-cache", "--snapshots", f"file://{tmp_path}/store"]):
        assert replay(["instances", "--log", logs["cell1"], "--log", down, "-o", "json", "--cell", "cell2", *more]) == 4
        said = capsys.readouterr()
        rows = json.loads(said.out)
        assert {(row["instance"], row["host"], row["state"]) for row in rows} == {
            (row["instance"], row["host"], row["state"]) for row in wanted
        }
        assert (
            all(re.fullmatch(r"down, as of 20\d\d-.*Z", row["as_of"]) for row in rows)
            and "there is no file" in said.err
        )
    assert replay(["instances", "--log", logs["cell1"], "--log", down, "-o", "json", "--no-cache"]) == 4
    said = capsys.readouterr()
    assert {row["cell"] for row in json.loads(said.out) if row["instance"]} == {
        "cell1"
    } and "cell2: its instances are not known" in said.err


def test_an_instance_that_moves_is_there_twice(capsys, tmp_path):
    log = written_db(
        tmp_path / "log.db",
        report("a"),
        report("b"),
        claim("vm", "a"),
        started("vm", "a"),
        events.AllocationMoved("a", uuid_of("vm"), uuid_of("migration")),
        claim("vm", "b", attempt=2),
    )
    assert replay(["instances", "--log", log, "-o", "json", "--limit", "1"]) == 0
    assert [(row["host"], row["state"]) for row in json.loads(capsys.readouterr().out)] == [
        ("a", f"running as {uuid_of('migration')}"),
        ("b", "claimed"),
    ]


# --- capacity, stats, top -------------------------------------------------------------------------------------------


def test_capacity_adds_up(told):
    for by in ("cell", "az", "aggregate"):
        found = json.loads(told("capacity", "1:1024", "--by", by, "-o", "json")[1])
        assert sum(group["fits"] for group in found["by"]["groups"]) == found["fits"] > 0
        assert sum(one["hosts"] for one in found["runs_out"]) == found["hosts"] == 16
        assert sum(one["fits_before"] for one in found["runs_out"]) == found["fits"]
    code, out, err = told("capacity", "1:1024")
    assert code == 0 and out.startswith(f"{found['fits']} more of 1 VCPU, 1024 MEMORY_MB fit, on")
    assert "the policy" in err and "server groups are left out" in err


def test_capacity_of_what_was_asked_for(told, played):
    instance = min(placements(played))[0]
    flavor = json.loads(told("instances", "-o", "json")[1])[0]["flavor"]
    code, out, _ = told("capacity", flavor)
    assert code in (0, 1) and f"more of {flavor} (" in out
    assert told("capacity", "--like", instance, "--default-policy")[0] in (0, 1)
    assert told("capacity", "100000:1")[0] == 1


def test_stats_add_up(told, played):
    facts = json.loads(told("stats", "-o", "json", "--interval", "1s")[1])
    summary = json.loads((played / "summary.json").read_text())
    assert (
        facts["events"]
        == sum(one["events"] for one in facts["by_type"].values())
        == sum(one["events"] for one in facts["by_cell"].values())
        == sum(one["events"] for one in facts["intervals"])
    )
    assert facts["builds"]["started"] == len(placements(played)) and summary
    assert facts["decisions"]["made"] == facts["by_type"]["DecisionMade"]["events"]
    assert facts["claims"]["accepted"] + facts["claims"]["refused"] == facts["by_type"]["ClaimProposed"]["events"]
    code, out, _ = told("stats")
    assert code == 0 and f"{facts['events']} events in {facts['records']} records" in out and "busiest host" in out
    assert told("stats", "--interval", "1s")[1].splitlines()[0].startswith("time ")


def test_stats_of_a_range(told, played):
    bounds = dict(json.loads(told("stats", "cell1:5:9", "-o", "json")[1])["cells"].items())
    assert bounds["cell1"] == {"first": 5, "last": 9}
    code, out, _ = told("stats", "5:9", "-o", "json", log=f"cell1=sqlite:///{played}/log.cell1.db")
    assert code == 0 and json.loads(out)["records"] == 5
    assert json.loads(told("stats", "@-1ms:", "-o", "json")[1])["events"] == 0


def test_top_once(told):
    code, out, _ = told("top", "--once")
    assert code == 0 and re.search(r"last 300 s: \d+ decisions, \d+ selected", out) and "hottest host" in out
    assert re.search(r"^cell1 +\d+ +0 .* ok$", out, re.MULTILINE)
    code, out, _ = told("top", "--once", log="cell9=sqlite:////nowhere/log.db")
    assert code == 4 and "DOWN" in out


def test_top_once_of_an_empty_log(told, tmp_path):
    open_log(f"sqlite:///{tmp_path}/empty.db").close()
    _, out, _ = told("top", "--once", log=f"cell1=sqlite:///{tmp_path}/empty.db")
    assert re.search(r"^cell1 +- +0 .* ok$", out, re.MULTILINE)


def test_top_without_textual_is_one_sentence(told, monkeypatch):
    monkeypatch.setitem(sys.modules, "textual", None)
    code, _out, err = told("top")
    assert code == 2 and "pip install 'nova_sched[top]'" in err and len(err.splitlines()) == 1


def test_top_without_a_terminal_is_one_sentence(told):
    code, out, err = told("top")
    assert (code, out) == (2, "") and "needs a terminal" in err and len(err.splitlines()) == 1


def test_diff_of_a_moment_with_itself_names_no_positions(told):
    code, out, err = told("diff", "last", "last")
    assert code == 0 and len(out.splitlines()) == 1 and "cell1: no records" in err and "positions" not in err


def test_an_exported_file_says_the_same(told, played, tmp_path, capsys):
    """All of them work offline: with --no-redact an exported file is the logs themselves."""
    exported = str(tmp_path / "logs.nslog")
    assert replay(["export", "--no-redact", "-o", exported, "--log", str(played)]) == 0
    capsys.readouterr()
    for command in (
        ["state", "--at", "cell1:20", "-o", "json"],
        ["state", "host-1", "-o", "json"],
        ["diff", "first", "last"],
        ["instances", "-o", "csv"],
        ["capacity", "1:1024"],
        ["stats"],
    ):
        assert told(*command)[:2] == told(*command, log=exported)[:2]
