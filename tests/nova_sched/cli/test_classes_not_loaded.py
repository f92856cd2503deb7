"""Commands on the logs of a cloud whose policy names classes of a deployer, with and without those classes."""

import json
from hashlib import blake2b

import pytest

from nova_sched.replay.decisions.policies import PolicyBook, PolicyMissing
from nova_sched.scheduler.engine import CELL0
from nova_sched.selection.policy import Policy
from rpc_api import events
from rpc_api.packing import pack
from tests.builders import server_group, uuid_of
from tests.engines import TinyCloud
from tests.nova_sched.replay.logs import Written
from tests.nova_sched.replay.tiny import Logs, deciding
from tests.nova_sched.selection.test_deployers_classes import Few, Free, policy_of

#: The classes as an operator's configuration loads them.
CONFIGURATION = """[filter_scheduler]
available_filters = nova.scheduler.filters.all_filters
available_filters = tests.nova_sched.selection.test_deployers_classes.Few
enabled_filters = ComputeFilter, Few
"""


@pytest.fixture
def few():
    """vm-1 went to b; vm-2 found no host: a has no room, and b has an instance, for which Few refuses it."""
    cloud = TinyCloud(policy=policy_of([Few(1)]))
    for name, vcpus in (("a", 1), ("b", 8)):
        cloud.host(name, vcpus=vcpus)
    engine = deciding(cloud)
    cloud.ask(engine, "vm-1")
    cloud.settle()
    cloud.ask(engine, "vm-2")
    cloud.settle()
    assert [event.outcome for event in cloud.events("cell1", "DecisionMade") + cloud.events(CELL0, "DecisionMade")] == [
        "selected",
        "no_valid_host",
    ]
    return cloud


WHERE = "is in cell0 at position 0"
NAMES = "names the filter Few, not loaded here; name the schedulers' configuration"


def test_show_says_where_the_policy_is_and_shows_all(few, capsys):
    with Logs(few) as logs:
        assert logs.run("show", uuid_of("vm-2")) == 0
        shown = capsys.readouterr().out
        assert f"policy     {few.policy.digest} ({WHERE}; the filter Few not loaded here)" in shown
        assert "Few             Few" in shown and "refused no host: DestinationFilter" in shown
        _, (said,) = logs.json(capsys, "show", uuid_of("vm-2"))
    assert said["decisions"][0]["policy"] == {
        "digest": few.policy.digest,
        "cell": CELL0,
        "position": 0,
        "not_loaded": {"filters": ["Few"], "weighers": []},
    }


def test_explain_says_what_the_loaded_filters_say(few, capsys):
    with Logs(few) as logs:
        assert logs.run("explain", uuid_of("vm-2")) == 4
    said = capsys.readouterr()
    assert said.out.startswith("0/2 hosts: 1 Few, 1 VCPU")
    assert "1 host refused for VCPU (ResourceFilter); nearest: a: VCPU: 1 free, 2 asked" in said.out
    assert "1 host refused for Few (Few)\n" in said.out and "at the end of the logs" not in said.out
    assert WHERE in said.err and "the filter Few, not loaded here: what it says of hosts is left out" in said.err


def test_which_hosts_a_later_filter_refused_is_left_open(capsys):
    """Few refused a, and the group's rule b: without Few it would refuse a, too, and a would be the nearest."""
    cloud = TinyCloud(policy=policy_of([Few(2)], enabled=("ComputeFilter", "Few", "ServerGroupAntiAffinityFilter")))
    for name in ("a", "b"):
        cloud.host(name, vcpus=8)
    engine, group = deciding(cloud), server_group("anti-affinity")
    for name, host, its_group in (("vm-1", "a", None), ("vm-2", "a", group), ("vm-3", "b", group)):
        cloud.ask(engine, name, vcpus=1, group=its_group, ignore_hosts=tuple({"a", "b"} - {host}))
        cloud.settle()
    cloud.ask(engine, "vm-4", vcpus=1, group=group)
    cloud.settle()
    with Logs(cloud) as logs:
        _, (said,) = logs.json(capsys, "explain", uuid_of("vm-4"))
    assert [(one["filter"], one["hosts"], one["nearest"]) for one in said["reasons"]] == [
        ("Few", 1, None),
        ("ServerGroupAntiAffinityFilter", 1, None),
    ]


def test_why_not_says_what_is_known(few, capsys):
    with Logs(few) as logs:
        assert logs.run("why-not", uuid_of("vm-2"), "a") == 1
        said = capsys.readouterr()
        assert said.out.startswith("a: refused for VCPU (ResourceFilter)") and said.err == ""
        assert "not loaded: Few, which refused 1 of 2 hosts then" in said.out
        assert logs.run("why-not", uuid_of("vm-2"), "b") == 4
        said = capsys.readouterr()
        assert said.out.startswith("b: passed all filters that are loaded here, and the filter Few may have refused it")
        assert "whether the filter Few refused b is not known: its policy" in said.err
        assert WHERE in said.err and NAMES in said.err
        assert logs.run("why-not", uuid_of("vm-1"), "b") == 0
        assert capsys.readouterr().out.startswith("b: it was chosen")
        code, said = logs.json(capsys, "why-not", uuid_of("vm-2"), "b")
        assert (code, said["refused"], said["standing"]) == (4, None, None)


def test_a_filter_that_refused_nobody_leaves_nothing_open(capsys):
    cloud = TinyCloud(policy=policy_of([Few(9)]))
    for name in ("a", "b"):
        cloud.host(name, vcpus=8)
    cloud.ask(deciding(cloud), "vm")
    cloud.settle()
    other = ({"a", "b"} - {cloud.events("cell1", "DecisionMade")[0].hosts[0]}).pop()
    with Logs(cloud) as logs:
        assert logs.run("why-not", uuid_of("vm"), other) == 0
    assert "not loaded: Few, which refused no of 2 hosts then" not in (said := capsys.readouterr().out)
    assert "not loaded: Few, which refused none of 2 hosts then" in said and "rank     1 of 2" in said


def test_verify_names_the_class_and_where_its_policy_is(few, capsys):
    with Logs(few) as logs:
        assert logs.run("replay", "--verify") == 4
    said = capsys.readouterr().out
    assert f"(policy): its policy {few.policy.digest} {WHERE}, and {NAMES}" in said
    assert "0 decisions made again, 0 different, 2 could not be made again" in said


def test_capacity_says_how_many_fit_at_most(few, capsys):
    with Logs(few) as logs:
        assert logs.run("capacity", "VCPU=2") == 4
        said = capsys.readouterr()
        assert said.out.startswith("3 more of 2 VCPU fit")
        assert "at most these fit: the filter Few of the policy is not loaded here" in said.err
        assert logs.run("capacity", "VCPU=2", "--default-policy") == 0


def test_what_if_runs_what_needs_no_class_that_is_not_loaded(few, tmp_path, capsys):
    with Logs(few) as logs:
        code, said = logs.json(capsys, "what-if", "--set", 'enabled_filters=["ComputeFilter"]')
        assert code == 4 and (said["re-run"]["placed"], said["what-if"]["placed"]) == (0, 2)
        (tmp_path / "other.conf").write_text("[filter_scheduler]\nenabled_filters = ComputeFilter\n")
        code, again = logs.json(capsys, "what-if", "--policy", str(tmp_path / "other.conf"))
        assert code == 4 and again["what-if"]["placed"] == 2
        assert logs.run("what-if", "--set", "host_subset_size=2") == 4
    assert (
        f"2 decisions could not be made: its policy {few.policy.digest} {WHERE}, and {NAMES}" in capsys.readouterr().err
    )


def test_a_weigher_that_is_not_loaded_leaves_the_filters_known(capsys):
    cloud = TinyCloud(policy=policy_of([], [Free()]))
    for name, vcpus in (("a", 1), ("b", 8), ("c", 4)):
        cloud.host(name, vcpus=vcpus)
    cloud.ask(deciding(cloud), "vm")
    cloud.settle()
    with Logs(cloud) as logs:
        assert logs.run("show", uuid_of("vm")) == 0
        assert f"({WHERE}; the weigher Free not loaded here)" in capsys.readouterr().out
        assert logs.run("explain", uuid_of("vm")) == 0
        assert logs.run("why-not", uuid_of("vm"), "a") == 1
        assert logs.run("capacity", "VCPU=2") == 0
        assert capsys.readouterr().err.count("not loaded") == 0
        assert logs.run("replay", "--verify") == 4
    assert "names the weigher Free, not loaded here" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command, code",
    [
        (("show", uuid_of("vm-2")), 0),
        (("explain", uuid_of("vm-2")), 0),
        (("why-not", uuid_of("vm-2"), "a"), 1),
        (("capacity", "VCPU=2"), 0),
    ],
)
def test_the_configuration_loads_what_is_missing(few, command, code, tmp_path, capsys):
    (tmp_path / "scheduler.conf").write_text(CONFIGURATION)
    with Logs(few) as logs:
        found = logs.run(*command, "--config-file", str(tmp_path / "scheduler.conf"))
    said = capsys.readouterr()
    assert "not loaded" not in said.out + said.err and found == code


def adopt(book, options):
    digest = blake2b(pack(options), digest_size=8).hexdigest()
    book.adopt(events.PolicyAdopted(digest, json.dumps(options)), CELL0, 3)
    return digest


@pytest.mark.parametrize(
    "options, told",
    [
        (lambda options: {**options, "of_tomorrow": 1}, "it has the option 'of_tomorrow', which this version"),
        (lambda options: {**options, "max_attempts": "x"}, "cannot be used: a policy cannot be read"),
    ],
)
def test_a_policy_that_is_genuine_and_cannot_be_used_is_not_called_forged(options, told):
    book = PolicyBook()
    digest = adopt(book, options(json.loads(Policy().to_json())))
    with pytest.raises(PolicyMissing, match=told):
        book.get(digest)


def test_a_policy_of_before_an_option_was_there_is_used():
    book, options = PolicyBook(), json.loads(Policy(max_attempts=7).to_json())
    del options["disable_fallback_pcpu_query"]
    assert book.get(adopt(book, options)) == Policy(max_attempts=7)


@pytest.mark.parametrize(
    "cell, told",
    [
        ("cell1", "is in none of the logs named; name that of cell0 too"),
        (CELL0, "is in none of the logs named, although that of cell0 is whole"),
    ],
)
def test_a_policy_that_is_in_no_log(cell, told):
    book = PolicyBook()
    book.logs = {cell: Written(cell=cell).log}
    with pytest.raises(PolicyMissing, match=told):
        book.get("0" * 16)
