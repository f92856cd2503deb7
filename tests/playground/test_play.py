"""Playing a generated cloud, for real: services, logs and processes; the results are checked against the requests."""

import collections
import csv
import json
import re

import pytest

from nova_sched.cli.main import main

BACKENDS = ["memory", "sqlite", pytest.param("rabbit", marks=pytest.mark.rabbit)]


@pytest.fixture
def log_url(request, tmp_path):
    """A fresh log of the back-end that the test names."""
    if request.param == "memory":
        return f"memory://{tmp_path.name}"
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/log.db"
    server = request.getfixturevalue("rabbit_server")
    return server.url(f"{tmp_path.name}-{request.node.name}".replace("[", "-").replace("]", ""))


def play(out, *options):
    code = main(["play", "--generate", "24,120", "--out", str(out), *options])
    summary = json.loads((out / "summary.json").read_text())
    with open(out / "placements.csv", newline="") as file:
        return code, summary, list(csv.DictReader(file))


def providers_of(row):
    """Provider name -> amounts, of the column ``providers``."""
    return {
        name: {key: int(value) for key, value in (one.split(":") for one in held.split(","))}
        for name, _, held in (part.partition("=") for part in row["providers"].split(";"))
    }


def check_groups(workload, rows):
    """Every group rule holds among what was built."""
    domains, hosts = collections.defaultdict(set), collections.defaultdict(list)
    for request, row in zip(workload.requests, rows, strict=True):
        if row["outcome"] != "built":
            assert row["reason"], row
            continue
        held = providers_of(row)
        assert len(held) == len(request.shares), "each share is on a NUMA node of its own"
        assert {name.rpartition("_")[0] for name in held} == {row["host"]}
        assert sorted((one["VCPU"], one["MEMORY_MB"]) for one in held.values()) == sorted(request.shares)
        if request.group:
            hosts[request.policy, request.group].append(row["host"])
        if request.policy == "fault-domain":
            domains[request.group, workload.racks[row["host"]]].add(request.partition)
    for (policy, _), on in hosts.items():
        assert policy != "affinity" or len(set(on)) == 1
        assert policy != "anti-affinity" or len(set(on)) == len(on)
    assert all(len(partitions) == 1 for partitions in domains.values())
    return len(hosts)


@pytest.mark.parametrize("log_url", BACKENDS, indirect=True)
@pytest.mark.parametrize("cells, schedulers", [(1, 1), (2, 2)])
def test_a_played_cloud_keeps_every_rule(tmp_path, log_url, cells, schedulers):
    from nova_sched.playground.workload import generated

    code, summary, rows = play(
        tmp_path / "out",
        "--log",
        log_url,
        "--cells",
        str(cells),
        "--schedulers",
        str(schedulers),
        "--fail",
        "0.1",
        "--no-picture",
    )
    assert code == 0
    assert [int(row["seq"]) for row in rows] == list(range(120))
    assert summary["over_commitments"] == summary["group_breaches"] == summary["set_aside"] == 0
    counted = collections.Counter(row["outcome"] for row in rows)
    assert counted["built"] == summary["built"] > 80
    assert summary["retries"] > 0, "one build in ten fails, so alternates must have been used"
    assert any(int(row["attempts"]) > 1 for row in rows if row["outcome"] == "built")
    assert check_groups(generated(24, 120, 0), rows) > 5


def test_one_scheduler_without_failures_places_alike_every_time(tmp_path):
    runs = [play(tmp_path / name, "--log", f"memory://{tmp_path.name}-{name}", "--no-picture")[2] for name in "ab"]
    assert [(row["host"], row["outcome"]) for row in runs[0]] == [(row["host"], row["outcome"]) for row in runs[1]]


def test_another_seed_draws_otherwise(tmp_path):
    runs = [
        play(tmp_path / seed, "--log", f"memory://{tmp_path.name}-{seed}", "--no-picture", "--seed", seed)[2]
        for seed in ("1", "2")
    ]
    assert [row["host"] for row in runs[0]] != [row["host"] for row in runs[1]]


def test_a_refusal_carries_the_counts_of_all_hosts(tmp_path):
    _, _, rows = play(tmp_path / "out", "--log", f"memory://{tmp_path.name}", "--no-picture")
    refused = [row for row in rows if row["outcome"] == "no_valid_host"]
    assert refused
    for row in refused:
        left, _, reasons = row["reason"].partition(" hosts: ")
        assert left == "0/24"
        assert sum(int(part.split()[0]) for part in reasons.split(", ")) == 24


TRACE = """vmId,tenantId,cores,ram,vmTypeId,starttime,endtime
1,1,6,6,0,-1.0,0.5
2,1,6,6,0,0.1,inf
3,1,6,6,0,0.2,0.3
4,1,6,6,0,0.6,inf
"""


def test_departures_make_room(tmp_path):
    (tmp_path / "trace.csv").write_text(TRACE)
    code = main(
        [
            "play",
            "--trace",
            str(tmp_path / "trace.csv"),
            "--hosts",
            "2",
            "--host-cores",
            "10",
            "--host-ram",
            "10",
            "--in-flight",
            "1",
            "--rate",
            "20",
            "--log",
            f"memory://{tmp_path.name}",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    with open(tmp_path / "out" / "placements.csv", newline="") as file:
        outcomes = [row["outcome"] for row in csv.DictReader(file)]
    assert (code, outcomes) == (0, ["built", "built", "no_valid_host", "built"])
    assert (tmp_path / "out" / "fill.png").read_bytes().startswith(b"\x89PNG")


HEAD = "seq,vcpus,ram_gb,numa_nodes,policy,group,fault_domain\n"
SERVERS = "host,numa0_cpus,numa0_ram_gb,numa1_cpus,numa1_ram_gb\nhost-0,16,32,0,0\n"


@pytest.mark.parametrize(
    "requests, told",
    [
        (HEAD + "0,x,2,1,,,\n", "vcpus is 'x', wanted a number"),
        (HEAD + "0,3,2,2,,,\n", "cannot be divided equally over 2 NUMA nodes"),
        (HEAD + "0,2,2,1,together,1,\n", "the policy is 'together'"),
        (HEAD + "0,2,2\n", "has not the 7 fields"),
        ("seq,vcpus\n0,1\n", "has no column 'ram_gb'"),
        (HEAD, "0 requests"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_request_file_is_told_by_line(tmp_path, capsys, requests, told):
    (tmp_path / "servers.csv").write_text(SERVERS)
    if requests is not None:
        (tmp_path / "requests.csv").write_text(requests)
    code = main(
        [
            "play",
            "--servers",
            str(tmp_path / "servers.csv"),
            "--requests",
            str(tmp_path / "requests.csv"),
            "--out",
            str(tmp_path / "out"),
        ]
    )
    said = capsys.readouterr().err
    assert code == 2 and told in said and "Traceback" not in said


@pytest.mark.parametrize(
    "options, code, told",
    [
        ([], 2, "name one workload"),
        (["--generate", "3"], 2, "wanted HOSTS,REQUESTS"),
        (["--generate", "3,3", "--trace", "x"], 2, "name one workload"),
        (["--trace", "x"], 2, "--hosts N"),
        (["--trace", "/nowhere.csv", "--hosts", "1"], 2, "cannot be read"),
        (["--servers", "x"], 2, "go together"),
        (["--generate", "3,3", "--log", "http://x"], 2, "has the scheme 'http'"),
        (["--generate", "3,3", "--log", "rabbit://127.0.0.1:1/?stream=x"], 3, "check that the broker runs"),
        (["--generate", "3,3", "--cells", "4"], 2, "4 cells for 3 hosts"),
        (["--generate", "3,3", "--weigher", "NoSuch"], 2, "there is no weigher 'NoSuch'"),
        (["--generate", "3,3", "--cells", "0"], 2, "'0' is not a whole number, 1 or more"),
        (["--generate", "3,3", "--fail", "2"], 2, "'2' is not a number between 0 and 1"),
        (["--generate", "3,3", "--rate", "fast"], 2, "'fast' is not a number above 0"),
        (["--bogus"], 2, "unrecognized arguments"),
        (["--generate", "3,3", "--weigher", "RAMWeigher=x"], 2, "is not NAME=MULTIPLIER"),
    ],
)
def test_wrong_options(tmp_path, capsys, options, code, told):
    assert main(["play", "--out", str(tmp_path / "out"), *options]) == code
    said = capsys.readouterr().err
    assert told in said and "Traceback" not in said


HUAWEI = {
    "servers.csv": "host,numa0_cpus,numa0_ram_gb,numa1_cpus,numa1_ram_gb\nh1,8,16,8,16\nh2,8,16,8,16\n",
    "racks.csv": "host,rack\nh1,r1\nh2,r1\n",
    "requests.csv": "seq,vcpus,ram_gb,numa_nodes,policy,group,fault_domain\n0,2,4,1,,,\n",
}


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("racks.csv", "host,rack\nh1,r1\n", "the host h2 has no rack in"),
        ("servers.csv", HUAWEI["servers.csv"] + "h1,8,16,8,16\n", "servers.csv:4: the host h1 is there twice"),
        ("servers.csv", "", "is empty, wanted the columns host, numa0_cpus"),
        ("servers.csv", "host,numa0_cpus\nh1,8\n", "has no column 'numa0_ram_gb'"),
        ("requests.csv", HUAWEI["requests.csv"].replace("2,4", "two,4"), "requests.csv:2: vcpus is 'two'"),
        ("requests.csv", "\x89PNG", "no column|is not text"),
    ],
)
def test_files_that_are_wrong(tmp_path, capsys, name, content, told):
    for one, text in {**HUAWEI, name: content}.items():
        (tmp_path / one).write_bytes(text.encode("latin-1"))
    files = [f"--{one.partition('.')[0]}={tmp_path}/{one}" for one in HUAWEI]
    assert main(["play", *files, "--out", str(tmp_path / "out")]) == 2
    assert re.search(told, capsys.readouterr().err)


def test_a_log_that_holds_something_is_refused(tmp_path, capsys):
    play(tmp_path / "out", "--no-picture")
    assert main(["play", "--generate", "3,3", "--out", str(tmp_path / "out")]) == 2
    assert "wanted an empty one" in capsys.readouterr().err
