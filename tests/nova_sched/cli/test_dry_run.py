"""``nova-sched dry-run``: the decision of the schedulers on the present state, and nothing is claimed."""

import json

import pytest

from nova_sched.replay.dry_run.guest_numa import topology_of
from nova_sched.selection.policy import Policy
from rpc_api import errors, events
from rpc_api.log import open_log
from tests.builders import claim, consumer, decision, group, inventory_of, of, provider, report, request, tree, uuid_of
from tests.nova_sched.cli.operated import Cloud
from tests.nova_sched.operate.nova_api import NovaApi, flavor


def with_traits(name, *traits, **more):
    """The inventory of a host whose root provider has some traits."""
    root = provider(name, inventory_of(), inventory_of("MEMORY_MB", 16384), traits=traits)
    return tree(name, **more)._replace(providers=(root,))


@pytest.fixture
def cloud(tmp_path, capsys):
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("a", consumer("vm", of("a", 6))))
    cloud.say(report("b", inventory=with_traits("b", "CUSTOM_FAST", availability_zone="east")))
    cloud.say(report("c", disabled=True))
    return cloud


def asked(cloud, *words):
    """(Exit code, the answer) of a dry run."""
    code, out, err = cloud.run("dry-run", *words, "-o", "json")
    assert out, err
    return code, json.loads(out)


@pytest.mark.parametrize(
    "words, hosts, refused",
    [
        (("1:512",), ["b", "a"], {"disabled": 1}),
        (("4:512",), ["b"], {"disabled": 1, "VCPU": 1}),
        (("9:512",), [], {"disabled": 1, "VCPU": 2}),
        (("VCPU=1,CUSTOM_GPU=1",), [], {"disabled": 1, "CUSTOM_GPU": 2}),
        (("1:512", "--property", "trait:CUSTOM_FAST=required"), ["b"], {"disabled": 1, "trait CUSTOM_FAST": 1}),
        (("1:512", "--property", "resources:VCPU=4"), ["b"], {"disabled": 1, "VCPU": 1}),
        (("1:512", "--availability-zone", "east"), ["b"], {"availability zone": 2}),
        (("1:512", "--image-property", "traits_required=CUSTOM_FAST"), ["b"], None),
        (("4:512", "--count", "2"), ["b"], None),
        (("4:512", "--count", "3"), ["b"], None),
    ],
)
def test_where_and_why_not(cloud, words, hosts, refused):
    code, answer = asked(cloud, *words)
    placed = [one["host"] for one in answer["placed"]]
    first = answer["placed"][0] if placed else None
    assert ([first["host"], *first["alternates"]] if first else []) == hosts
    if refused is not None:
        assert {reason["reason"]: reason["hosts"] for reason in answer["reasons"]} == refused
    count = int(words[words.index("--count") + 1]) if "--count" in words else 1
    assert code == (0 if len(placed) == count else 1)
    if "--count" in words:
        assert placed == ["b", "b"][: len(placed)] and len(placed) == 2


def test_nothing_is_claimed_and_nothing_is_written(cloud):
    def ends():
        found = []
        for url in cloud.urls.values():
            with open_log(url) as log:
                found.append(log.bounds())
        return found

    before = ends(), cloud.rows("host", "list")
    for words in (("1:512",), ("4:512", "--count", "9"), ("1:512", "--host", "a")):
        cloud.run("dry-run", *words)
    assert (ends(), cloud.rows("host", "list")) == before


def test_what_each_filter_says_of_a_host(cloud):
    code, answer = asked(cloud, "4:512", "--host", "a")
    verdicts = {one["filter"]: one for one in answer["host"]["verdicts"]}
    assert code == 0 and verdicts["ResourceFilter"]["verdict"] == "refuse"
    assert verdicts["ResourceFilter"]["text"].startswith("VCPU: 2 free, 4 asked")
    assert verdicts["ComputeStatusFilter"]["verdict"] == "pass"
    code, out, _ = cloud.run("dry-run", "4:512", "--host", "c")
    assert "c: refused for disabled (ComputeStatusFilter), " not in out and "c: refused for disabled" in out
    assert "service disabled: maintenance\n           disabled at " in out


@pytest.mark.parametrize(
    "words, code, told",
    [
        ((), 2, "a FLAVOR (amounts such as 4:8192:40, or a name) or --like REQUEST is needed"),
        (("1:1", "--like", "x"), 2, "and not both"),
        (("m1.large",), 1, "no recorded request asks for a flavor 'm1.large'; no request is recorded at all"),
        (("--like", uuid_of("nobody")), 1, "the named logs have no decision for"),
        (("--like", "x", "--hint", "a=b"), 2, "--like asks for what was recorded"),
        (("1:1", "--move"), 2, "--move needs a server"),
        (("--like", "x", "--move", "--count", "2"), 2, "--count is 2, and one server moves once"),
        (("--like", "x", "--nova"), 2, "--nova reads a FLAVOR in Nova, and --like has its own"),
        (("1:1", "--count", "0"), 2, "--count is 0, wanted 1 or more"),
        (("1:1", "--property", "x"), 2, "--property 'x' is not KEY=VALUE"),
        (("1:1", "--image-property", "hw_magic=1"), 2, "'hw_magic' is not a property of an image that Nova reads"),
        (("1:1", "--image-property", "hw_cpu_policy=magic"), 2, "the image property hw_cpu_policy is 'magic'"),
        (("1:1", "--property", "hw:cpu_policy=magic"), 2, "hw:cpu_policy"),
        (("1:1", "--property", "pci_passthrough:alias=gpu:1"), 2, "name a recorded request of this flavor with --like"),
        (("1:1", "--hint", "group=x"), 2, "a server group is an object of Nova"),
        (("1:1", "--host", "bb"), 1, "the logs know no host 'bb', of 3 hosts; there are b"),
        (("0:0",), 2, "asks for nothing"),
    ],
)
def test_wrong_questions(cloud, words, code, told):
    found, out, err = cloud.run("dry-run", *words)
    assert (found, out) == (code, "") and told in err


def test_each_value_of_a_hint_counts(cloud):
    cloud.say(claim("other", "b"), by="scheduler/one")
    hints = ("--hint", f"different_host={uuid_of('other')}", "--hint", f"different_host={uuid_of('vm')}")
    policy = Policy(enabled_filters=(*Policy().enabled_filters, "DifferentHostFilter"))
    cloud.say(events.PolicyAdopted(policy.digest, policy.to_json()), cell="cell0", by="scheduler/one")
    assert asked(cloud, "1:512", *hints[:2])[1]["placed"][0]["host"] == "a"
    code, answer = asked(cloud, "1:512", *hints)
    assert (code, answer["placed"]) == (1, [])


def test_the_policy_of_a_shadow_is_not_that_of_the_schedulers(cloud):
    """A shadow tries other weights; dry runs and the policy history go by the schedulers."""
    used, tried = Policy(host_subset_size=2), Policy(host_subset_size=3)
    cloud.say(events.PolicyAdopted(tried.digest, tried.to_json()), by="shadow/one", cell="cell0")
    assert f"by the policy {tried.digest}" in cloud.run("dry-run", "1:512")[2]
    cloud.say(events.PolicyAdopted(used.digest, used.to_json()), by="scheduler/one", cell="cell0")
    cloud.say(events.PolicyAdopted(tried.digest, tried.to_json()), by="shadow/one", cell="cell0")
    assert f"by the policy {used.digest}" in cloud.run("dry-run", "1:512")[2]
    code, out, err = cloud.run("policy", "history")
    assert code == 0 and out.count("shadow/one") == 2 and "policies are in use" not in err


def test_the_first_records_of_requests_have_no_sizes_of_the_flavor(cloud):
    old = request(group(VCPU=4, MEMORY_MB=512), flavor_name="m1.old", vcpus=0, memory_mb=0, root_gb=0)
    cloud.say(decision("x", asked=old), by="scheduler/one")
    code, answer = asked(cloud, "m1.old")
    assert (code, answer["asked"]) == (0, "m1.old: 4 VCPU 512 MEMORY_MB") and answer["placed"][0]["host"] == "b"


def test_a_server_that_was_moved_to_a_named_host_may_move_anywhere(cloud):
    there = request(group(VCPU=1), target_host="a", target_node="a")
    cloud.say(decision("vm", "a", asked=there), by="scheduler/one")
    code, answer = asked(cloud, "--like", uuid_of("vm"), "--move")
    assert (code, answer["placed"]) == (0, [{"host": "b", "alternates": []}])


def test_a_cloud_without_hosts(tmp_path, capsys):
    code, out, err = Cloud(tmp_path, capsys).run("dry-run", "1:512")
    assert code == 1 and out.startswith("0/0 hosts\n") and "the logs have no host at that moment" in err


def test_a_flavor_of_nova(cloud, monkeypatch):
    nova = NovaApi(flavors=[flavor("m1.fast", 1, 512, 0, **{"trait:CUSTOM_FAST": "required"})])
    for name, value in nova.credentials.items():
        monkeypatch.setenv(name, value)
    try:
        for name in ("m1.fast", "id-of-m1.fast"):
            code, answer = asked(cloud, name, "--nova")
            assert (code, answer["placed"], answer["asked"]) == (
                0,
                [{"host": "b", "alternates": []}],
                "m1.fast: 1 VCPU 512 MEMORY_MB CUSTOM_FAST",
            )
        code, _, err = cloud.run("dry-run", "m1.slow", "--nova")
        assert code == 1 and "Nova has no flavor 'm1.slow'" in err
    finally:
        nova.close()


def test_a_cell_whose_log_is_not_there_is_left_out(cloud, tmp_path):
    named = f"cell2=sqlite:///{tmp_path}/none.db"
    code, out, err = cloud.run("dry-run", "1:512", "--log", named)
    assert code == 3 and "cell2 is left out" in err and out.startswith("chosen b")


def test_a_recorded_request_and_a_server_that_moves(played_cloud, capsys):
    from nova_sched.cli.main import main

    logs = ("--log", str(played_cloud.directory), "--no-cache")
    built = played_cloud.instance("built", attempts="2")
    host = next(row["host"] for row in played_cloud.rows if row["instance"] == built)
    code = main(["dry-run", "--like", built, "--move", "-o", "json", *logs])
    answer = json.loads(capsys.readouterr().out)
    # A host where its first build failed may be among them.
    left_out = answer["asked"].partition("not on ")[2].partition(";")[0].split(", ")
    assert code == (0 if answer["placed"] else 1) and host in left_out
    assert host not in [one["host"] for one in answer["placed"]]
    code = main(["dry-run", "--like", built, "--host", host, *logs])
    out, err = capsys.readouterr()
    assert code in (0, 1) and "by the policy " in err and f"{host}: " in out
    assert main(["dry-run", "play-2-4096", "--count", "2", *logs]) in (0, 1)
    assert "play-2-4096: " in capsys.readouterr().out


# --- the NUMA nodes of a guest ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vcpus, memory_mb, extra_specs, image, cells",
    [
        (4, 1024, {}, {}, None),
        (4, 1024, {"hw:cpu_policy": "shared"}, {}, None),
        (4, 1024, {"hw:numa_nodes": "1"}, {}, [({0, 1, 2, 3}, set(), 1024, None)]),
        (4, 1024, {"hw:numa_nodes": "2"}, {}, [({0, 1}, set(), 512, None), ({2, 3}, set(), 512, None)]),
        (4, 1024, {"hw:cpu_policy": "dedicated"}, {}, [(set(), {0, 1, 2, 3}, 1024, None)]),
        (2, 512, {}, {"hw_cpu_policy": "dedicated"}, [(set(), {0, 1}, 512, None)]),
        (2, 512, {"hw:mem_page_size": "large"}, {}, [({0, 1}, set(), 512, -2)]),
        (2, 512, {"hw:mem_page_size": "2048"}, {}, [({0, 1}, set(), 512, 2048)]),
        (2, 512, {"hw:mem_page_size": "1GB"}, {}, [({0, 1}, set(), 512, 1048576)]),
        (
            3,
            768,
            {
                "hw:numa_nodes": "2",
                "hw:numa_cpus.0": "0",
                "hw:numa_mem.0": "256",
                "hw:numa_cpus.1": "1-2",
                "hw:numa_mem.1": "512",
            },
            {},
            [({0}, set(), 256, None), ({1, 2}, set(), 512, None)],
        ),
    ],
)
def test_the_nodes_of_a_guest(vcpus, memory_mb, extra_specs, image, cells):
    found = topology_of(vcpus, memory_mb, extra_specs, image)
    assert (
        None if found is None else [(cell.cpuset, cell.pcpuset, cell.memory, cell.pagesize) for cell in found.cells]
    ) == cells


@pytest.mark.parametrize(
    "extra_specs, told",
    [
        ({"hw:cpu_policy": "mixed"}, "is not computed here"),
        ({"hw:numa_nodes": "3"}, "cannot be divided among 3 NUMA nodes"),
        ({"hw:numa_nodes": "9"}, "wanted 1 to the 4 VCPUs"),
        ({"hw:numa_nodes": "many"}, "hw:numa_nodes is 'many', wanted a number"),
        ({"hw:mem_page_size": "huge"}, "hw:mem_page_size is 'huge'"),
        ({"hw:numa_nodes": "1", "hw:numa_cpus.0": "0-3"}, "has no hw:numa_cpus.0 or hw:numa_mem.0"),
        ({"hw:numa_nodes": "1", "hw:numa_cpus.0": "0-2", "hw:numa_mem.0": "1024"}, "wanted each of the 4 VCPUs once"),
        ({"hw:numa_nodes": "1", "hw:numa_cpus.0": "all", "hw:numa_mem.0": "1024"}, "'all' is not a list of CPUs"),
    ],
)
def test_nodes_that_make_no_sense(extra_specs, told):
    with pytest.raises(errors.UsageError, match=told):
        topology_of(4, 1024, extra_specs, {})


def test_a_pinned_guest_needs_a_host_with_dedicated_cpus(cloud):
    """Hosts without them do, as in Nova, unless its filters look at the NUMA nodes."""
    _, answer = asked(cloud, "2:512", "--property", "hw:cpu_policy=dedicated", "--property", "hw:mem_page_size=large")
    assert answer["asked"] == "2 PCPU 512 MEMORY_MB; 1 NUMA node" and answer["placed"][0]["host"] == "b"
