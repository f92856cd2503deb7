"""show and explain on the logs of a played cloud, and on logs made by hand."""

import json
import re

import pytest

from nova_sched.cli import event_text
from nova_sched.cli.main import replay
from rpc_api import events
from rpc_api.log import open_log
from rpc_api.packing import pack
from tests.builders import Voice, server_group, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding


@pytest.fixture
def run(played_cloud, capsys):
    """Run a command on the played cloud; gives (exit code, stdout, stderr)."""

    def run(*command):
        code = replay(["--log", str(played_cloud.directory), "--no-cache", *command])
        return code, *capsys.readouterr()

    return run


# --- explain -------------------------------------------------------------------------------------------------------


def test_the_first_line_counts_every_host_once(played_cloud, run):
    code, said, _ = run("explain", played_cloud.instance("no_valid_host"))
    first = said.splitlines()[0]
    survivors, total, reasons = re.fullmatch(r"(\d+)/(\d+) hosts: (.+)", first).groups()
    counts = [int(one.split()[0]) for one in reasons.split(", ")]
    assert (code, survivors, total) == (0, "0", "16") and sum(counts) == 16
    refused = [int(one) for one in re.findall(r"(?m)^ +(\d+) hosts? refused for", said)]
    assert sum(refused) == 16 and "nearest: host-" in said and "end      no-valid-host" in said


def test_a_success_names_the_host(played_cloud, run):
    built = played_cloud.instance("built", attempts="1")
    _, said, _ = run("explain", built)
    assert re.match(r"chosen host-\d+: \d+/16 hosts", said) and "end      built: built on " in said


def test_the_facts_as_json(played_cloud, run):
    refused = played_cloud.instance("no_valid_host")
    code, said, _ = run("explain", f"req-{refused}", "-o", "json")
    (facts,) = json.loads(said)
    assert code == 0 and facts["end"]["code"] == "no-valid-host" and facts["instance"] == refused
    assert sum(one["hosts"] for one in facts["reasons"]) == 16 and not facts["fault"]
    assert all(one["nearest"] for one in facts["reasons"])


def test_a_claim_lost_to_another_scheduler_is_told(played_cloud, run):
    """Of all requests some lost a claim to another scheduler: who took the place is named."""
    for row in played_cloud.rows:
        (facts,) = json.loads(run("explain", row["instance"], "-o", "json")[1])
        lost = [one for one in facts["attempts"] if one["code"] == "claim-lost-to-another"]
        if lost:
            assert lost[0]["lost_to"][0]["producer"] != lost[0]["scheduler"]
            assert "claim refused" in lost[0]["said"]
            return
    raise AssertionError("four schedulers never took each other's places")


def test_every_request_of_the_play_ends_as_it_was_played(played_cloud, run):
    ends = {
        "built": {"built", "deleted"},
        "no_valid_host": {"no-valid-host"},
        "max_retries_exceeded": {"retries-exhausted"},
    }
    for row in played_cloud.rows[::12]:
        (facts,) = json.loads(run("explain", row["instance"], "-o", "json")[1])
        assert facts["end"]["code"] in ends[row["outcome"]], row
        if row["outcome"] == "built":
            assert f"built on {row['host']}" in facts["end"]["text"]


def decided(*asks, **options):
    cloud = TinyCloud(**options)
    cloud.host("a", vcpus=4)
    engine = deciding(cloud)
    for name, vcpus in asks:
        cloud.ask(engine, name, vcpus=vcpus)
        cloud.settle()
    return cloud


def test_what_the_nearest_host_lacks(capsys):
    cloud = decided(("first", 1), ("vm", 4))
    with Logs(cloud) as logs:
        assert logs.run("explain", uuid_of("vm")) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0] == "0/1 hosts: 1 VCPU"
    assert "nearest: a: VCPU: 3 free, 4 asked (4 total x 1, 1 used)" in said and "a lacked 1 VCPU" in said


def test_a_host_that_would_do_now(capsys):
    cloud = decided(("vm", 6))
    cloud.host("b", vcpus=8)
    with Logs(cloud) as logs:
        logs.run("explain", uuid_of("vm"))
    assert "at the end of the logs 1 host would do (b)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "said, code, text",
    [
        (
            [("conductor/c", events.BuildFailed(uuid_of("vm"), "req-vm", "a", 1, "no disk", True))],
            "retries-exhausted",
            "no disk",
        ),
        ([("conductor/c", events.ClaimExpired(uuid_of("vm"), uuid_of("claim 0")))], "given-back", "its claim expired"),
        (
            [("scheduler/one", events.ClaimReleased(uuid_of("vm"), uuid_of("claim 0"), "given up"))],
            "given-back",
            "given up",
        ),
        ([], "claimed", "claimed on a, not started yet"),
    ],
)
def test_how_it_ended(said, code, text, capsys):
    cloud = decided(("vm", 1))
    for producer, data in said:
        cloud.append("cell1", producer, data)
    with Logs(cloud) as logs:
        _, (facts,) = logs.json(capsys, "explain", uuid_of("vm"))
    assert facts["end"]["code"] == code and text in facts["end"]["text"]


def test_without_the_log_of_the_policy_what_is_recorded_is_told(capsys):
    cloud = decided(("first", 1), ("vm", 1))
    with Logs(cloud, without=["cell0"]) as logs:
        assert logs.run("explain", uuid_of("vm")) == 4
    said = capsys.readouterr()
    assert said.out.startswith("chosen a: 1/1 hosts") and "name that of cell0 too" in said.err


def test_a_beginning_is_enough_if_it_is_no_others(capsys):
    cloud = decided(("vm", 1), ("other", 1))
    with Logs(cloud) as logs:
        assert logs.run("explain", uuid_of("vm")[:9]) == 0
        assert uuid_of("vm") not in capsys.readouterr().err
        assert logs.run("explain", "req-vm"[:4]) == 2
        assert "8 or more characters" in capsys.readouterr().err


def test_an_ambiguous_id_lists_what_it_may_be(capsys):
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    engine = deciding(cloud)
    for name in ("machine-1", "machine-2"):
        cloud.ask(engine, name, vcpus=1)
    cloud.settle()
    with Logs(cloud) as logs:
        assert logs.run("explain", "req-machine") == 2
    assert "req-machine may be req-machine-1, req-machine-2; name more" in capsys.readouterr().err


# --- show ----------------------------------------------------------------------------------------------------------


def test_everything_of_a_build_that_was_retried(played_cloud, run):
    code, said, _ = run("show", played_cloud.instance("built", attempts="2"))
    assert code == 0
    for words in (
        "funnel",
        "scores",
        "policy",
        "knowing",
        "accepted",
        "simulated failure",
        "InstanceStarted",
        "(an alternate)",
        "claim to started",
        "end        built on",
    ):
        assert words in said, words


def test_the_funnel_adds_up(played_cloud, run):
    _, said, _ = run("show", played_cloud.instance("no_valid_host"))
    part = said[said.rindex("funnel") :]
    rows = re.findall(r"(?m)^    (\w+) .* (\d+) +(\d+) +(\d+)$", part)
    assert rows and int(rows[0][1]) == 16 and int(rows[-1][3]) == 0
    assert all(int(start) - int(refused) == int(end) for _, start, refused, end in rows)


def test_show_as_json(played_cloud, run):
    built = played_cloud.instance("built")
    _, said, _ = run("show", built, "-o", "json")
    (one,) = json.loads(said)
    first = one["decisions"][0]
    assert one["instance"] == built and first["evidence"]["request"]["groups"] and first["evidence"]["positions"]
    assert {"InstanceStarted", "ClaimProposed"} <= {event["event"] for event in one["events"]}
    assert one["latency_ns"]["in all"] >= one["latency_ns"]["decision 1"] > 0


def test_columns_of_all_weighers_of_all_hosts(capsys):
    """A weigher that is recorded of the second host only has its column too."""
    cloud = decided(("vm", 1))
    decision = cloud.events("cell1", "DecisionMade")[0]
    evidence = events.thaw("Evidence", decision.evidence)
    scores = tuple(
        events.HostScore(host, 1.0, (events.WeigherScore(weigher, 2.5, 1.0),))
        for host, weigher in (("a", "CPUWeigher"), ("b", "RAMWeigher"))
    )

    cloud.append(
        "cell1",
        "scheduler/two",
        decision._replace(instance_uuid=uuid_of("forged"), evidence=pack(evidence._replace(scores=scores))),
    )
    with Logs(cloud) as logs:
        assert logs.run("show", uuid_of("forged")) == 0
    said = capsys.readouterr().out
    assert re.search(r"CPUWeigher +RAMWeigher", said) and re.search(
        r"(?m)b +next +\+1\.000 +- +\+1\.000 \(2\.5\)", said
    )


def test_a_claim_that_is_in_no_log(capsys):
    cloud = decided(("vm", 1))
    decision = cloud.events("cell1", "DecisionMade")[0]
    cloud.append(
        "cell1", "scheduler/two", decision._replace(instance_uuid=uuid_of("lone"), claim_uuid=uuid_of("no claim"))
    )
    with Logs(cloud) as logs:
        assert logs.run("show", uuid_of("lone")) == 0
        said = capsys.readouterr().out
        assert "not in the log" in said and "its claim is in no log" in said


def test_a_text_from_a_log_makes_no_line_of_its_own(capsys):
    cloud = decided(("vm", 1))
    cloud.append("cell1", "conductor/c", events.BuildFailed(uuid_of("vm"), "req-vm", "a", 1, "a\nFORGED\x1b[2J", True))
    with Logs(cloud) as logs:
        for command in ("show", "explain"):
            logs.run(command, uuid_of("vm"))
    assert not re.search(r"(?m)^FORGED|\x1b", capsys.readouterr().out)


def test_a_log_whose_beginning_was_removed(capsys):
    """The recorded part is printed, with a note that the knowledge of the scheduler cannot be re-created."""
    cloud = decided(("first", 1), ("vm", 1))
    with Logs(cloud) as logs:
        with open_log(logs.urls["cell1"]) as log:
            log.truncate_before(2)
        assert logs.run("show", uuid_of("vm")) == 0
        assert "not known" in capsys.readouterr().out
        assert logs.run("explain", uuid_of("vm")) == 4
        said = capsys.readouterr()
        assert said.out.startswith("chosen a") and "cannot be re-created" in said.err
        assert logs.run("why-not", uuid_of("vm"), "a") == 4


def test_why_the_own_host_of_an_affinity_group_was_refused_is_told(capsys):
    cloud = TinyCloud()
    engine = deciding(cloud)
    for name in ("a", "b"):
        cloud.host(name)
    cloud.settle()
    group = server_group("affinity")
    cloud.ask(engine, "first", vcpus=3, group=group)
    cloud.settle()
    cloud.ask(engine, "second", vcpus=3, group=group)
    with Logs(cloud) as logs:
        assert logs.run("explain", uuid_of("second")) == 0
        said = capsys.readouterr().out
        (facts,), own = (
            logs.json(capsys, "explain", uuid_of("second"))[1],
            re.search("the group's own host ([ab]) was refused for VCPU", said),
        )
    assert said.startswith("0/2 hosts: 1 VCPU, 1 affinity") and own
    assert [(one["host"], one["reason"]) for one in facts["group_hosts"]] == [(own[1], "VCPU")]
    assert "lacked" not in said


def test_attempts_count_from_one_everywhere(capsys):
    """The scheduler decides twice for vm-2, as another took its host: attempts 0 and 1 in the log are 1 and 2."""
    cloud = TinyCloud()
    cloud.host("a", vcpus=2)
    one, two = deciding(cloud, "one"), deciding(cloud, "two")
    cloud.ask(one, "vm-1")
    cloud.ask(two, "vm-2")
    cloud.settle()
    decided = cloud.events("cell1", "DecisionMade") + cloud.events("cell0", "DecisionMade")
    late = next(one for one in decided if one.outcome == "no_valid_host")
    assert late.attempt == 1
    cloud.append(
        "cell1", "conductor/cell1", events.BuildFailed(late.instance_uuid, late.request_id, "a", 2, "broke", True)
    )
    with Logs(cloud) as logs:
        for command in (
            ("explain", late.instance_uuid),
            ("show", late.instance_uuid),
            ("why-not", late.instance_uuid, "a"),
            ("tail", "--instance", late.instance_uuid),
        ):
            logs.run(*command)
            said = capsys.readouterr().out
            assert "attempt 2" in said and "attempt 0" not in said, command
        assert "build 2, the last: broke" in said
        assert [one["attempt"] for one in logs.json(capsys, "explain", late.instance_uuid)[1][0]["attempts"]] == [1, 2]
        assert logs.json(capsys, "why-not", late.instance_uuid, "a")[1]["attempt"] == 2
        shown = logs.json(capsys, "show", late.instance_uuid)[1][0]["decisions"]
        assert [one["attempt"] for one in shown] == [1, 2]


def test_a_host_on_which_no_build_was_tried_has_no_number_of_a_build():
    def text(attempt, reason):
        return event_text.text_of(
            Voice("conductor/x").say(events.BuildFailed("vm", "req", "a", attempt, reason, False))
        )

    assert text(1, "broke") == "vm on a build 1: broke request req"
    assert text(1, "claim refused: VCPU") == "vm on a not tried after 1 build: claim refused: VCPU request req"
