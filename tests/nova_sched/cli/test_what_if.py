"""what-if on the logs of a played cloud, and on logs made by hand."""

import json
import re

import pytest

from nova_sched.cli import what_if_picture
from nova_sched.cli.main import replay
from nova_sched.replay.what_if.traffic import Sample, Tally
from rpc_api import events
from tests.builders import consumer, of, server_group, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.tiny import Logs, deciding


@pytest.fixture
def run(played_cloud, capsys):
    def run(*command):
        code = replay(["--log", str(played_cloud.directory), "what-if", *command])
        return code, *capsys.readouterr()

    return run


def test_the_recorded_column_is_what_was_played(played_cloud, run):
    code, said, _ = run("-o", "json")
    facts, summary = json.loads(said), json.loads((played_cloud.directory / "summary.json").read_text())
    recorded = facts["recorded"]
    assert code == 0 and recorded["asked"] == summary["requests"] and recorded["conflicts"] == summary["conflicts"]
    assert recorded["placed"] == summary["built"] + summary["max_retries_exceeded"]
    for word, figure in (
        ("placed", "placed"),
        ("built", "built"),
        ("refused", "no_valid_host"),
        ("hosts_used", "hosts_used"),
    ):
        assert recorded[word] == summary[figure], f"what-if and play mean the same by {word}"
    assert summary["max_retries_exceeded"] > 0, "so that placed and built differ"
    for fact in facts.values():
        assert (
            fact["placed"] + fact["refused"] == fact["asked"] and sum(fact["refused_for"].values()) == fact["refused"]
        )
    # Nothing was changed: both runs are one.
    assert facts["what-if"] == {**facts["re-run"], "placed_elsewhere": 0}


def test_it_is_the_same_each_time(run):
    assert run("--weigher", "CPUWeigher=3.0")[1] == run("--weigher", "CPUWeigher=3.0")[1]


def test_more_room_places_more_and_fewer_hosts_less(run):
    facts = json.loads(run("--ratio", "VCPU=4.0", "--ratio", "MEMORY_MB=4.0", "-o", "json")[1])
    assert facts["what-if"]["placed"] > facts["re-run"]["placed"]
    globbed = json.loads(run("--drop-host", "host-[012]", "-o", "json")[1])
    facts = json.loads(run("--drop-host", "host-0", "--drop-host", "host-1", "--drop-host", "host-2", "-o", "json")[1])
    assert globbed == facts
    assert facts["what-if"]["placed"] < facts["re-run"]["placed"] and facts["what-if"]["hosts_used"] <= 13


def test_a_table_and_a_picture(run, tmp_path):
    pytest.importorskip("matplotlib")
    code, said, _ = run("--add-host", "2=host-0", "--picture", str(tmp_path / "fill.png"))
    assert code == 0 and "stranded VCPU" in said and "conflicts (claims refused)" in said
    assert (tmp_path / "fill.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_draws_amounts_that_grow_with_what_is_placed(run, tmp_path, monkeypatch):
    """Twice the ratio places more: its lines show more, although it is less of the capacity."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    _, said, _ = run(
        "--ratio", "VCPU=4.0", "--ratio", "MEMORY_MB=4.0", "-o", "json", "--picture", str(tmp_path / "fill.png")
    )
    facts, figure = json.loads(said), pyplot.gcf()
    panels = {panel.get_title(): panel for panel in figure.axes}
    ends = {title: [line.get_ydata()[-1] for line in panel.get_lines()] for title, panel in panels.items()}
    recorded, again, changed = (facts[name] for name in ("recorded", "re-run", "what-if"))
    assert changed["vcpu_fill_at_end"] < again["vcpu_fill_at_end"] and changed["placed"] > again["placed"]
    assert ends["VCPUs in use"][2] > ends["VCPUs in use"][1]
    assert ends["instances refused so far"] == [one["refused"] for one in (recorded, again, changed)]
    assert ends["stranded VCPUs"] == [one["stranded"]["VCPU"]["amount"] for one in (recorded, again, changed)]
    assert len(ends["hosts with instances"]) == 3
    assert all(panel.get_ylabel() and panel.get_ylim()[0] == 0 for panel in panels.values())
    assert figure.get_suptitle() == "what if: ratio VCPU=4.0, ratio MEMORY_MB=4.0"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [label.partition(":")[0] for label in labels] == ["recorded", "re-run", "what-if"]
    assert f"{changed['placed']:,} placed, {changed['refused']:,} refused" in labels[2]
    pyplot.close("all")


@pytest.mark.parametrize("most", [0, 1, 2, 3, 4, 7, 18, 45, 1540, 10_000])
def test_the_ticks_of_the_picture_are_whole_numbers(most, tmp_path, monkeypatch):
    """A tick at 2.5 instances that is labelled 2 is in the wrong place."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(pyplot, "close", lambda figure: None)
    tally = Tally()
    tally.samples = [Sample(second * 10**9, *[most * second // 10] * 4) for second in range(11)]
    what_if_picture.draw(tmp_path / "fill.png", "more", dict.fromkeys(("recorded", "re-run", "what-if"), tally))
    for panel in pyplot.gcf().axes:
        low, high = panel.get_ylim()
        shown = [
            (tick, label.get_text())
            for tick, label in zip(panel.get_yticks(), panel.get_yticklabels(), strict=True)
            if low <= tick <= high
        ]
        assert len(shown) > 1 and [f"{tick:,}".removesuffix(".0") for tick, _ in shown] == [text for _, text in shown]
    pyplot.close("all")


@pytest.mark.parametrize(
    "seconds, unit", [(0, "seconds"), (299, "seconds"), (300, "minutes"), (3 * 3600, "hours"), (3 * 86400, "days")]
)
def test_times_of_the_picture_have_a_unit_for_people(seconds, unit):
    assert what_if_picture.unit_of(seconds * 10**9)[1] == unit


@pytest.mark.parametrize(
    "words, told",
    [
        (["--set", "nothing=1"], "a policy has no option 'nothing'"),
        (["--set", "ram_weight_multiplier=-1"], "use --weigher RAMWeigher=MULTIPLIER"),
        (["--set", 'max_attempts="x"'], 'the option max_attempts is "x", wanted a whole number, 1 or more; fix --set'),
        (["--set", "host_subset_size=-5"], "the option host_subset_size is -5, wanted a whole number, 1 or more"),
        (["--set", "host_subset_size=0"], "the option host_subset_size is 0, wanted a whole number, 1 or more"),
        (["--set", "host_subset_size=abc"], 'the option host_subset_size is "abc", wanted a whole number'),
        (["--set", "pci_in_placement=1"], "the option pci_in_placement is 1, wanted true or false"),
        (["--set", "enabled_filters=ComputeFilter"], 'the option enabled_filters is "ComputeFilter", wanted a list'),
        (["--weigher", "RAMWeigher=nan"], "--weigher RAMWeigher has the multiplier 'nan', wanted a number"),
        (["--weigher", "RAMWeigher=inf"], "--weigher RAMWeigher has the multiplier 'inf', wanted a number"),
        (["--ratio", "MEMORY=4.0"], "the logs have no resource class 'MEMORY', wanted one of MEMORY_MB, VCPU"),
        (["--set", f"metrics_weight_of_unavailable={'9' * 400}"], "wanted a finite number; fix --set or --policy"),
        (["--weigher", "Nobody=1"], "there is no weigher 'Nobody'"),
        (["--weigher", "CPUWeigher"], "wanted NAME=MULTIPLIER"),
        (["--weigher", "CPUWeigher=x"], "wanted a number"),
        (["--ratio", "VCPU=0"], "wanted a number above 0"),
        (["--drop-host", "host-x"], "the logs have no host 'host-x'"),
        (["--drop-host", "rack-*"], "the logs have no host 'rack-*'"),
        (["--add-host", "1=host-*"], "the logs have no host 'host-*'"),
        (["--add-host", "x=host-0"], "wanted a number of hosts"),
        (["--add-host", "1=host-x"], "the logs have no host 'host-x'"),
        (["--policy", "/nowhere"], "--policy /nowhere cannot be read"),
    ],
)
def test_what_cannot_be_asked(run, words, told):
    code, _, said = run(*words)
    assert code == 2 and told in said


# --- by hand ---------------------------------------------------------------------------------------------------------


def cloud_of(*hosts, **options):
    cloud = TinyCloud(**options)
    for name, vcpus, cell in hosts:
        cloud.host(name, cell, vcpus)
    return cloud


def columns(cloud, capsys, *command):
    with Logs(cloud) as logs:
        code, facts = logs.json(capsys, "what-if", *command)
    assert code == 0
    return facts["recorded"], facts["re-run"], facts["what-if"]


@pytest.fixture
def full():
    """A host with room for two of three, which is then full; the first one leaves before the last comes."""
    cloud = cloud_of(("a", 4, "cell1"))
    engine = deciding(cloud)
    for name in ("vm-1", "vm-2", "vm-3"):
        cloud.ask(engine, name)
        cloud.settle()
    return cloud


def test_the_table_has_amounts_that_grow_with_what_is_placed(full, capsys):
    """A ratio makes the capacity larger, so that the share falls although more is in use."""
    changed = columns(full, capsys, "--ratio", "VCPU=2.0")[2]
    assert (changed["vcpus_used_at_end"], changed["vcpu_capacity_at_end"], changed["vcpu_fill_at_end"]) == (6, 8, 0.75)
    with Logs(full) as logs:
        assert logs.run("what-if", "--ratio", "VCPU=2.0") == 0
    rows = [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()]
    assert ["VCPUs in use at the end", "4 (100.0 %)", "4 (100.0 %)", "6 (75.0 %)"] in rows
    assert ["VCPU capacity at the end", "4", "4", "8"] in rows


def test_a_ratio_makes_room(full, capsys):
    recorded, again, changed = columns(full, capsys, "--ratio", "VCPU=2.0")
    assert [one["placed"] for one in (recorded, again, changed)] == [2, 2, 3]
    assert recorded["refused_for"] == again["refused_for"] == {"VCPU": 1} and changed["refused_for"] == {}
    assert (again["vcpu_fill_at_end"], changed["vcpu_fill_at_end"]) == (1.0, 0.75)


def test_an_added_host_takes_what_was_refused(full, capsys):
    changed = columns(full, capsys, "--add-host", "1=a")[2]
    assert (changed["placed"], changed["hosts_used"]) == (3, 2)


def test_without_a_host_nothing_is_placed(full, capsys):
    changed = columns(full, capsys, "--drop-host", "a")[2]
    assert (changed["placed"], changed["refused"], changed["stranded"]) == (0, 3, {})
    assert (changed["vcpus_used_at_end"], changed["vcpu_capacity_at_end"], changed["vcpu_fill_at_end"]) == (0, 0, 0.0)


def test_who_leaves_makes_room_for_who_comes(capsys):
    """In the log the second one left, so the third one found room; here both hosts are filled the other way round."""
    cloud = cloud_of(("a", 2, "cell1"))
    engine = deciding(cloud)
    cloud.ask(engine, "vm-1")
    cloud.settle()
    claim = cloud.events("cell1", "ClaimProposed")[0]
    runs = consumer("vm-1", *claim.allocations)
    cloud.append("cell1", "compute_agent/a", events.InstanceStarted("a", runs))
    cloud.host("a", vcpus=2, consumers=(runs,))
    cloud.append("cell1", "compute_agent/a", events.InstanceDeleted("a", uuid_of("vm-1")))
    cloud.settle()
    cloud.ask(engine, "vm-2")
    cloud.settle()
    recorded, again, _ = columns(cloud, capsys)
    assert (
        recorded["placed"] == again["placed"] == 2 and again["vcpu_fill_at_end"] == recorded["vcpu_fill_at_end"] == 1.0
    )


def test_what_ran_before_the_log_began_stays(capsys):
    cloud = TinyCloud()
    before = consumer("before", of("a", 3))
    cloud.host("a", vcpus=4, consumers=(before,))
    engine = deciding(cloud)
    cloud.ask(engine, "vm-1")
    recorded, again, changed = columns(cloud, capsys, "--ratio", "VCPU=1.25")
    assert [one["placed"] for one in (recorded, again, changed)] == [0, 0, 1] and changed["vcpu_fill_at_end"] == 1.0


def test_schedulers_know_as_little_of_each_other_as_they_did(capsys):
    """Two that decide at once want the same place: one of them loses its claim and decides again."""
    cloud = cloud_of(("a", 4, "cell1"), ("b", 3, "cell1"))
    engines = deciding(cloud, "one"), deciding(cloud, "two")
    for number, engine in enumerate(engines):
        cloud.ask(engine, f"vm-{number}", vcpus=3)
    cloud.settle()
    recorded, again, changed = columns(cloud, capsys, "--ratio", "VCPU=2")
    assert recorded["placed"] == again["placed"] == changed["placed"] == 2
    assert (recorded["conflicts"], again["conflicts"], changed["conflicts"]) == (1, 1, 0)


def test_a_scheduler_does_not_collide_with_itself(capsys):
    """Its claims under way count, so that four decisions in a row fill two hosts without a conflict."""
    cloud = cloud_of(("a", 4, "cell1"), ("b", 4, "cell1"))
    engine = deciding(cloud)
    for number in range(4):
        cloud.ask(engine, f"vm-{number}")
    cloud.settle()
    for column in columns(cloud, capsys):
        assert (column["placed"], column["conflicts"], column["placed_elsewhere"]) == (4, 0, 0)


def test_a_claim_goes_to_another_cell(capsys):
    """The recorded host is not there: the claim is in the log of another cell."""
    cloud = cloud_of(("a", 8, "cell1"), ("b", 4, "cell2"), cells=("cell1", "cell2"))
    engine = deciding(cloud)
    for number in range(2):
        cloud.ask(engine, f"vm-{number}")
        cloud.settle()
    recorded, again, changed = columns(cloud, capsys, "--drop-host", "a")
    assert recorded["hosts_used"] == again["hosts_used"] == 1
    assert (changed["placed"], changed["hosts_used"], changed["placed_elsewhere"]) == (2, 1, 2)
    assert changed["vcpu_fill_at_end"] == 1.0


def test_an_affinity_group_goes_where_its_first_one_goes_here(capsys):
    cloud = cloud_of(("a", 8, "cell1"), ("b", 6, "cell2"), cells=("cell1", "cell2"))
    engine = deciding(cloud)
    for number in range(3):
        cloud.ask(
            engine, f"vm-{number}", group=server_group("affinity", members=[f"vm-{member}" for member in range(number)])
        )
        cloud.settle()
    recorded, again, changed = columns(cloud, capsys, "--drop-host", "a")
    assert recorded["placed"] == again["placed"] == changed["placed"] == 3
    assert again["hosts_used"] == changed["hosts_used"] == 1 and again["placed_elsewhere"] == 0


def test_a_request_is_placed_as_a_whole_or_not_at_all(capsys):
    cloud = cloud_of(("a", 4, "cell1"))
    engine = deciding(cloud)
    cloud.ask(engine, "vm-1", "vm-2")
    cloud.settle()
    recorded, again, _ = columns(cloud, capsys)
    assert recorded["placed"] == again["placed"] == 2
    changed = columns(cloud, capsys, "--ratio", "VCPU=0.5")[2]
    assert (changed["placed"], changed["refused"]) == (0, 2)


def test_a_build_that_failed_for_good_is_placed_and_not_built(capsys):
    cloud = cloud_of(("a", 4, "cell1"), ("b", 4, "cell1"))
    engine = deciding(cloud)
    cloud.ask(engine, "vm-1", vcpus=4)
    cloud.settle()
    claim = cloud.events("cell1", "ClaimProposed")[0]
    cloud.append(
        "cell1",
        "conductor/cell1",
        events.ClaimReleased(uuid_of("vm-1"), claim.claim_uuid, "broke"),
        events.BuildFailed(uuid_of("vm-1"), "req-vm-1", claim.host, 1, "broke", True),
    )
    for column in columns(cloud, capsys):
        assert (column["placed"], column["built"], column["hosts_used"]) == (1, 0, 0)


def test_a_policy_as_json_and_as_a_configuration(full, tmp_path, capsys):
    policy = tmp_path / "policy.json"
    text = '{"enabled_filters": ["ComputeFilter", "NumInstancesFilter"], "max_instances_per_host": 1}'
    policy.write_text(text)
    changed = columns(full, capsys, "--policy", str(policy))[2]
    assert changed["placed"] == 1 and changed["refused_for"] == {"too many instances": 2}
    for form in ("utf-8-sig", "utf-16"):
        policy.write_text(text, encoding=form)
        assert columns(full, capsys, "--policy", str(policy))[2] == changed, "as Notepad and PowerShell write it"
    conf = tmp_path / "scheduler.conf"
    conf.write_text("[filter_scheduler]\nenabled_filters = NumInstancesFilter\nmax_instances_per_host = 1\n")
    assert columns(full, capsys, "--policy", str(conf))[2] == changed
    conf.write_text(conf.read_text(), encoding="utf-8-sig")
    with Logs(full) as logs:
        assert logs.run("what-if", "--policy", str(conf)) == 2
    assert f"{conf}:1 begins with a byte order mark (BOM); save the file as UTF-8" in capsys.readouterr().err


def test_a_log_without_decisions_is_a_finding(capsys):
    with Logs(cloud_of(("a", 4, "cell1"))) as logs:
        assert logs.run("what-if") == 1
    assert "have no decision" in capsys.readouterr().err
