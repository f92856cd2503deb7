"""replay: folds, laws, and decisions made again, on the logs of a played cloud and on logs that were tampered with."""

import json
import re

import pytest

from nova_sched.cli.main import replay
from nova_sched.scheduler.engine import CELL0
from nova_sched.selection.policy import Policy
from rpc_api import codec, events
from rpc_api.log import open_log
from rpc_api.packing import pack
from tests.builders import Voice, of, record_of, report, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding


@pytest.fixture
def run(capsys):
    def run(directory, *command):
        code = replay(["--log", str(directory), "--no-cache", "replay", *command])
        return code, *capsys.readouterr()

    return run


def test_all_laws_hold_and_all_decisions_come_out_the_same(played_cloud, run):
    code, said, _ = run(played_cloud.directory, "--verify")
    made = int(re.search(r"(\d+) decisions made again, 0 different\n", said)[1])
    assert code == 0 and made >= 120 and "0 laws broken, 0 gaps" in said
    assert re.search(r"(?m)^cell2 .* [0-9a-f]{32}$", said)


def test_the_plain_fold_gives_the_same_state_and_looks_at_no_decision(played_cloud, run):
    _, plain, _ = run(played_cloud.directory)
    _, verified, _ = run(played_cloud.directory, "--verify", "--no-decisions")
    digests = re.findall(r"[0-9a-f]{32}", plain)
    assert len(digests) == 3 and digests == re.findall(r"[0-9a-f]{32}", verified)
    assert "decisions" not in plain and "decisions" not in verified


def test_from_a_moment_the_end_is_the_same(played_cloud, run):
    whole, later = run(played_cloud.directory)[1], run(played_cloud.directory, "--verify", "--from", "cell1:40")[1]
    assert re.findall(r"[0-9a-f]{32}", whole) == re.findall(r"[0-9a-f]{32}", later)
    assert re.search(r"(?m)^cell1 +41 ", later) and "0 laws broken" in later


def test_one_instance_only(played_cloud, run):
    code, said, _ = run(played_cloud.directory, "--instance", played_cloud.instance("built", attempts="1"))
    assert code == 0 and int(re.search(r"(\d+) decisions? made again", said)[1]) < 10
    code, _, said = run(played_cloud.directory, "--instance", "nobody")
    assert code == 1 and "no decision for nobody" in said


def test_a_decision_that_was_changed_is_found(played_cloud, tmp_path, run):
    """Another host in one recorded decision of a real log: replay says which, and ends with 1."""
    directory = played_cloud.copy(tmp_path / "changed")
    url = json.loads((directory / "summary.json").read_text())["logs"]["cell1"]
    instance = None
    with open_log(url) as log:
        bounds = log.bounds()
        with log.read_from(bounds.first) as reader:
            records = reader.read(10_000, 5)
    for path in directory.glob(f"{url.rpartition('/')[2]}*"):
        path.unlink()
    payloads = []
    for record in records:
        decoded = codec.decode_record(record.payload)
        batch = [*decoded.events]
        for index, event in enumerate(batch):
            if instance is None and event.name == "DecisionMade" and len(event.data.hosts) > 1:
                instance = event.data.instance_uuid
                hosts = event.data.hosts[1], event.data.hosts[0], *event.data.hosts[2:]
                batch[index] = event._replace(data=event.data._replace(hosts=hosts))
        payloads.append(codec.encode_record(decoded.epoch, batch, decoded.level))
    with open_log(url) as log:
        log.append(payloads)
    code, said, _ = run(directory, "--verify")
    assert code == 1 and "1 different" in said and "differs: cell1 " in said and f"instance {instance}" in said
    assert "(hosts): chose " in said


# --- by hand ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def cloud():
    """Two hosts, and decisions that placed three of four instances."""
    cloud = TinyCloud()
    for host in ("a", "b"):
        cloud.host(host, vcpus=4)
    engine = deciding(cloud)
    for number in range(4):
        cloud.ask(engine, f"vm-{number}", vcpus=2 if number < 3 else 4, alternates=1)
        cloud.settle()
    return cloud


def changed(cloud, cell, number, change):
    """Change the data of the decision of a number in a cell's log."""
    places = [
        place
        for place, payload in enumerate(cloud.logs[cell])
        if codec.decode_record(payload).events[0].name == "DecisionMade"
    ]
    record = codec.decode_record(cloud.logs[cell][places[number]])
    event = record.events[0]
    cloud.logs[cell][places[number]] = codec.encode_record(record.epoch, [event._replace(data=change(event.data))])


def with_evidence(data, **fields):
    return data._replace(evidence=pack(events.thaw("Evidence", data.evidence)._replace(**fields)))


def other_scores(data):
    evidence = events.thaw("Evidence", data.evidence)
    first = evidence.scores[0]
    weighers = (first.weighers[0]._replace(raw=99.0), *first.weighers[1:])
    return with_evidence(
        data._replace(hosts=data.hosts[::-1]), scores=(first._replace(weighers=weighers), *evidence.scores[1:])
    )


@pytest.mark.parametrize(
    "cell, number, change, told",
    [
        ("cell1", 0, lambda data: data._replace(reason="2/2 hosts: all well"), "(counts): says 2/2 hosts"),
        (
            CELL0,
            0,
            lambda data: with_evidence(
                data._replace(reason="0/2 hosts: 2 RAM"), refusals=(events.RefusalCount("RamFilter", "RAM", 2),)
            ),
            "first ResourceFilter: 2 VCPU, recorded RamFilter: 2 RAM",
        ),
        ("cell1", 1, other_scores, "recorded 99"),
    ],
    ids=["counts", "refusals", "scores"],
)
def test_the_first_cause_is_told(cloud, cell, number, change, told, capsys):
    changed(cloud, cell, number, change)
    with Logs(cloud) as logs:
        assert logs.run("replay", "--verify") == 1
    said = capsys.readouterr().out
    assert told in said and "4 decisions made again, 1 different" in said


@pytest.mark.parametrize(
    "change, told",
    [
        (
            lambda data: with_evidence(data, policy_digest="0" * 16),
            "(policy): its policy 0000000000000000 is in none of the logs",
        ),
        (
            lambda data: with_evidence(data, positions=(events.CellPosition("cell1", "", 99, 0, 0, False),)),
            "(position): the log of cell1",
        ),
        (
            lambda data: with_evidence(data, positions=(events.CellPosition("cell9", "", 3, 0, 0, False),)),
            "the log of cell9 is not among",
        ),
        (lambda data: data._replace(evidence=b"\xc1"), "the evidence cannot be read"),
    ],
    ids=["policy", "position", "cell", "evidence"],
)
def test_what_cannot_be_made_again(cloud, change, told, capsys):
    changed(cloud, "cell1", 1, change)
    with Logs(cloud) as logs:
        assert logs.run("replay", "--verify") == 4
    said = capsys.readouterr().out
    assert told in said and "3 decisions made again, 0 different, 1 could not be made again" in said


def test_a_log_without_cell0(cloud, capsys):
    with Logs(cloud, without=[CELL0]) as logs:
        assert logs.run("replay", "--verify") == 4
    assert "name that of cell0 too" in capsys.readouterr().out


def test_a_decision_without_its_claim_breaks_a_law(cloud, capsys):
    changed(cloud, "cell1", 2, lambda data: data._replace(claim_uuid=uuid_of("none")))
    with Logs(cloud) as logs:
        assert logs.run("replay", "--verify") == 1
    assert f"the claim of the decision for {uuid_of('vm-2')} is in no log" in capsys.readouterr().out


def test_a_log_whose_beginning_was_removed(cloud, capsys):
    """The records after the gap are folded and the gap is reported; decisions that knew of lost records are skipped."""
    with Logs(cloud) as logs:
        with open_log(logs.urls["cell1"]) as log:
            log.truncate_before(2)
        assert logs.run("replay", "--verify") == 4
        said = capsys.readouterr().out
    assert "gap: cell1: the log begins at position 2" in said and "could not be made again" in said
    assert re.search(r"(?m)^cell1 +2 ", said)


def test_an_empty_log_and_garbage(capsys):
    cloud = TinyCloud(cells=("cell1", "cell2"))
    cloud.host("a")
    cloud.logs["cell1"].append(b"\xc1 garbage")
    with Logs(cloud) as logs:
        assert logs.run("replay", "--verify") == 0
    assert re.search(r"(?m)^cell1 +0 +1 +2 +2 +1 +1 ", capsys.readouterr().out)


def test_a_missing_event_is_a_gap(capsys):
    voice = Voice("compute_agent/a")
    first, _, third = (voice.say(report("a", num_io_ops=number)) for number in range(3))
    with open_log("memory://replay-with-a-gap") as log:
        log.append([record_of(first), record_of(third)])
        assert replay(["--log", "cell1=memory://replay-with-a-gap", "replay", "--verify"]) == 4
        log.delete()
    assert "compute_agent/a goes to 3, expected 2" in capsys.readouterr().out


def test_a_faulty_fold_is_seen(cloud, monkeypatch, capsys):
    """A fold that gives room away twice: the audit's own arithmetic finds it."""
    cloud.append(
        "cell1",
        "scheduler/greedy",
        cloud.events("cell1", "ClaimProposed")[0]._replace(
            claim_uuid=uuid_of("one more"),
            consumer_uuid=uuid_of("more"),
            instance_uuid=uuid_of("more"),
            allocations=(of("a", 4),),
        ),
    )
    with Logs(cloud) as logs:
        assert logs.run("replay", "--verify", "--no-decisions") == 0
        monkeypatch.setattr("nova_sched.projection.claim_checks.misfit", lambda *arguments: None)
        assert logs.run("replay", "--verify", "--no-decisions") == 1
    assert f"{uuid_of('more')} takes VCPU" in capsys.readouterr().out


def test_a_state_that_is_not_in_snapshots_is_seen(cloud, monkeypatch, capsys):
    from nova_sched.projection import snapshot

    load = snapshot.load

    def forgetful(packed, table=None):
        projection = load(packed, table)
        projection.groups.members["lost"] = {}
        projection.fences["lost"] = 1
        return projection

    monkeypatch.setattr("nova_sched.projection.snapshot.load", forgetful)
    with Logs(cloud) as logs:
        assert logs.run("replay", "--verify", "--no-decisions") == 1
    assert "folded from a snapshot at" in capsys.readouterr().out


def test_a_policy_that_changes_on_the_way(capsys):
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    cloud.host("b", vcpus=4)
    engine = deciding(cloud)
    cloud.ask(engine, "vm-1")
    cloud.settle()
    engine.set_policy(Policy(host_subset_size=5))
    engine.publish_policy()
    cloud.ask(engine, "vm-2")
    cloud.settle()
    with Logs(cloud) as logs:
        assert logs.run("replay", "--verify") == 0
    assert "2 decisions made again, 0 different" in capsys.readouterr().out
