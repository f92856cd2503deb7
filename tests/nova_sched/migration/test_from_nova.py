"""What an import takes from Nova's REST API: aggregates, services, instances, server groups; and the cells of hosts."""

import pytest

from nova_sched.clients import service
from nova_sched.clients.login import login
from nova_sched.clients.service import Service
from nova_sched.migration import from_nova
from nova_sched.projection.topology import pools_of
from rpc_api import errors, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import Voice, consumer, of, record_of, report
from tests.nova_sched.migration.clouds import PROJECT, NovaAnswers, small, tapped
from tests.placement_api.regions import uuid_of

VM = uuid_of("vm-1")


def test_aggregates_instances_and_groups_are_taken_over(known):
    aggregate = known.state("cell0").aggregates[uuid_of("rack")]
    assert aggregate[1:] == ("rack", ("host-1",), {"availability_zone": "az1"})
    state = known.state()
    assert {uuid: one.host for uuid, one in ((uuid, state.tracked.get(uuid)) for uuid in (VM, uuid_of("vm-2")))} == {
        VM: "host-1",
        uuid_of("vm-2"): "host-2",
    }
    assert state.tracked.get(VM).image_properties == {"hw_disk_bus": "virtio"}
    (entry,) = state.consumers[VM]
    assert entry.rule == events.GroupRule(uuid_of("group"), "spread", "host-1", VM, 2)
    assert state.groups.members[uuid_of("group")].keys() == {"host-1", "host-2"}


def rename(nova):
    nova.aggregates["rack"] = (["host-2"], {"availability_zone": "az1", "ssd": "true"})


#: A change in Nova -> the lines of the comparison.
CHANGES = {
    "an aggregate": (
        rename,
        [
            f"aggregate {uuid_of('rack')} (rack): host host-1: nothing in the cloud, True in the logs",
            f"aggregate {uuid_of('rack')} (rack): host host-2: True in the cloud, nothing in the logs",
            f"aggregate {uuid_of('rack')} (rack): metadata ssd: true in the cloud, nothing in the logs",
        ],
    ),
    "an aggregate is deleted": (
        lambda nova: nova.aggregates.clear(),
        [f"aggregate {uuid_of('rack')} (rack): exists: nothing in the cloud, True in the logs"],
    ),
    "an aggregate comes": (
        lambda nova: nova.aggregates.update({"new": ([], {})}),
        [f"aggregate {uuid_of('new')} (new): exists: True in the cloud, nothing in the logs"],
    ),
    "a host is disabled": (
        lambda nova: nova.services["host-1"].update(status="disabled", disabled_reason="disk"),
        [
            "host host-1: disabled: True in the cloud, False in the logs",
            "host host-1: disabled reason: disk in the cloud, nothing in the logs",
        ],
    ),
    "a host is forced down": (
        lambda nova: nova.services["host-1"].update(forced_down=True, state="down"),
        ["host host-1: forced down: True in the cloud, False in the logs"],
    ),
    "an instance moves": (
        lambda nova: nova.servers.update({"vm-1": ("host-2", {})}),
        [f"instance {VM}: host: host-2 in the cloud, host-1 in the logs"],
    ),
    "an instance is deleted": (
        lambda nova: nova.servers.pop("vm-1"),
        [f"instance {VM}: host: nothing in the cloud, host-1 in the logs"],
    ),
    "another image": (
        lambda nova: nova.servers.update({"vm-1": ("host-1", {"image": {"properties": {"hw_disk_bus": "scsi"}}})}),
        [f"instance {VM}: image property hw_disk_bus: scsi in the cloud, virtio in the logs"],
    ),
    "another group": (
        lambda nova: nova.groups.update({"group": ("affinity", {}, []), "other": ("soft-affinity", {}, ["vm-1"])}),
        [f"instance {VM}: server group: {uuid_of('other')} in the cloud, {uuid_of('group')} in the logs"],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_in_nova_is_named_and_written(known, nova, name):
    change, lines = CHANGES[name]
    change(nova)
    code, out, _ = known.run("compare", "--nova", nova.url)
    assert code == 1 and out.splitlines() == lines
    code, out, err = known.run("import", "--nova", nova.url)
    assert code == 0, (out, err)
    position = known.state().position, known.state("cell0").position
    assert known.run("import", "--nova", nova.url)[0] == 0
    assert (known.state().position, known.state("cell0").position) == position


def test_a_host_that_the_trait_disables(known, nova, stock):
    """nova-compute has set the trait: the service need not say it again, and both sides call the host disabled."""
    path = f"/resource_providers/{uuid_of('host-1')}"
    found = stock.client.do("GET", f"{path}/traits")
    found["traits"].append("COMPUTE_STATUS_DISABLED")
    stock.client.do("PUT", f"{path}/traits", found)
    nova.services["host-1"].update(status="disabled", disabled_reason="disk")
    assert known.run("import", "--nova", nova.url)[0] == 0
    assert known.state().hosts["host-1"].status[:2] == (False, "disk")
    # Enabled while the nova-compute is down: the trait stays, and Nova gives the host no instances.
    nova.services["host-1"].clear()
    assert known.run("compare", "--nova", nova.url)[:2] == (0, "")
    nova.services["host-1"].update(status="disabled", disabled_reason="disk")
    found["traits"].remove("COMPUTE_STATUS_DISABLED")
    found["resource_provider_generation"] += 1
    stock.client.do("PUT", f"{path}/traits", found)
    assert known.run("import", "--nova", nova.url)[0] == 0
    assert known.state().hosts["host-1"].status[:2] == (True, "disk")
    nova.services["host-1"].clear()
    assert known.run("import", "--nova", nova.url)[0] == 0
    assert not known.state().hosts["host-1"].status.disabled


def test_liveness_is_a_note_and_no_difference(known, nova):
    """While the conductors of Nova are stopped, Nova calls all hosts down."""
    for of_host in nova.services.values():
        of_host.update(state="down")
    for command in ("import", "compare"):
        code, _, err = known.run(command, "--nova", nova.url)
        assert code == 0 and err.startswith("note: 2 hosts (host-1, host-2): down in Nova and up in the logs: "), err
    nova.services["host-1"].clear()
    nova.services["host-2"].update(forced_down=True)
    with open_log(known.urls["cell1"]) as log:
        lost = events.HostLost("host-1", "silent")
        log.append([record_of(Voice("conductor/other").say(lost), epoch=known.state().epoch, level=LEVEL)])
    code, _, err = known.run("import", "--nova", nova.url)
    assert code == 0 and err.startswith("note: 1 host (host-1): up in Nova and down in the logs: "), err


def test_a_service_without_a_compute_node_is_a_note(known, nova):
    """A conductor group of Ironic without nodes, or a driver that never came up: no log can have such a host."""
    nova.services["empty"] = {}
    code, _, err = known.run("import", "--nova", nova.url)
    assert code == 0 and err.startswith("note: 1 host (empty): a nova-compute without a compute node"), err
    assert known.run("compare", "--nova", nova.url)[0] == 0
    nova.hosts.append("empty")
    code, out, _ = known.run("compare", "--nova", nova.url)
    assert (code, out) == (1, "host empty: known: True in the cloud, nothing in the logs\n")


def test_a_host_with_several_bare_metal_nodes_is_a_note(known, nova):
    nova.services["ironic"] = {}
    nova.hosts += ["node-1", "node-2"]
    nova.host_of_node = {"node-1": "ironic", "node-2": "ironic"}
    code, _, err = known.run("compare", "--nova", nova.url)
    assert code == 0 and err.startswith("note: 1 host (ironic): a nova-compute with several compute nodes"), err


def test_hosts_without_facts_are_named(stock, nova, ours):
    """Without a tap and without a database nobody knows the hypervisors: the rest is taken over."""
    small(stock)
    code, _, err = ours.run("import", "--nova", nova.url)
    assert code == 1 and "host host-1: known: True in the cloud, nothing in the logs" in err
    assert "start the tap of their cell" in err
    tapped(ours, "host-1", "host-2")
    assert ours.run("import", "--nova", nova.url)[0] == 0


def test_pages(known, nova, monkeypatch):
    monkeypatch.setattr(nova, "max_limit", 1)
    nova.groups["second"] = ("soft-anti-affinity", {}, [])
    assert known.run("compare", "--nova", nova.url)[:2] == (0, "")


@pytest.fixture
def reading(nova, environment):
    """What is read of a Nova."""
    return lambda: from_nova.read(Service("compute", login(), nova.url))


@pytest.fixture
def many(nova):
    """Five hosts with a server each, and a limit of two per page."""
    nova.max_limit = 2
    nova.hosts = [f"host-{number}" for number in range(1, 6)]
    nova.services = {name: {} for name in nova.hosts}
    nova.servers = {f"vm-{number}": (f"host-{number}", {}) for number in range(1, 6)}
    nova.groups = {f"group-{number}": ("affinity", {}, [f"vm-{number}"]) for number in range(1, 6)}
    return nova


def test_pages_that_are_shorter_than_asked_for(many, reading):
    found = reading()
    assert sorted(found.nodes.values()) == many.hosts
    assert sorted(one.host for one in found.instances.values()) == many.hosts
    assert {group.name for group in found.groups.values()} == set(many.groups)


def test_a_hypervisor_without_a_service_ends_no_list(many, reading):
    """Nova leaves it out of the page that it is in."""
    del many.services["host-2"]
    assert sorted(reading().nodes.values()) == ["host-1", "host-3", "host-4", "host-5"]


@pytest.mark.parametrize("gone", [["vm-2"], ["vm-1", "vm-2"]])
def test_a_marker_that_is_deleted_meanwhile(many, reading, gone):
    """The last server of the first page, or all of that page."""

    def before(path, asked):
        if path == "/servers/detail" and "marker" in asked:
            for name in gone:
                many.servers.pop(name, None)

    many.before = before
    found = reading()
    assert {uuid_of(name) for name in ("vm-3", "vm-4", "vm-5")} <= found.instances.keys()


def test_a_list_without_an_end(many, reading, stock):
    many.before = lambda path, asked: asked.pop("marker", None) and None
    with pytest.raises(errors.ServiceUnavailable, match="its pages have no end"):
        reading()


def test_an_endpoint_with_a_project(known, nova):
    assert known.run("compare", "--nova", f"{nova.url}{PROJECT}")[:2] == (0, "")


def test_servers_that_can_be_restored_are_listed(nova, reading):
    reading()
    assert all(asked["soft_deleted"] == "True" for path, asked, _ in nova.requests if path == "/servers/detail")


def test_an_aggregate_with_ten_thousand_hosts(known, nova):
    hosts = [f"compute-{number:05}.a-region-with-a-long-name.example.org" for number in range(10_000)]
    nova.aggregates["rack"] = (hosts, {"availability_zone": "az1"})
    code, out, err = known.run("import", "--nova", nova.url)
    assert (code, err) == (0, ""), (out, err)
    assert len(known.state("cell0").aggregates[uuid_of("rack")].hosts) == 10_000


def test_hosts_of_agents_and_their_aggregates_stay(known, nova):
    """Nova knows nothing of them, and they are no difference."""
    with open_log(known.urls["cell1"]) as log:
        data = report("of-an-agent", consumer("on-it", of("of-an-agent", 1)))
        record = record_of(Voice("compute_agent/of-an-agent").say(data), epoch=known.state().epoch, level=LEVEL)
        log.append([record])
    with open_log(known.urls["cell0"]) as log:
        made = events.AggregateUpdated(uuid_of("ours"), "ours", ("of-an-agent",), {})
        log.append([record_of(Voice("operator/ada").say(made), epoch=known.state("cell0").epoch, level=LEVEL)])
    lines = known.run("compare", "--nova", nova.url)[1].splitlines()
    assert not [line for line in lines if line.startswith("aggregate")]
    code, out, _ = known.run("import", "--nova", nova.url)
    assert (code, uuid_of("ours") in known.state("cell0").aggregates) == (0, True), out
    assert len(known.state().hosts["of-an-agent"].entries) == 1
    assert known.run("compare", "--nova", nova.url)[0] == 0


def test_hypervisors_are_listed_without_a_call_to_each_nova_compute(nova, reading):
    """From microversion 2.88 on Nova asks each of them for its uptime."""
    reading()
    assert {version for path, _, version in nova.requests if path == "/os-hypervisors/detail"} == {"2.87"}
    assert {version for path, _, version in nova.requests if path == "/servers/detail"} == {"2.98"}


NOVA_FAULTS = [
    # (answer, how often, exit code, text)
    ((429, {"overLimit": {"code": 429, "message": "slow down"}}), 2, 0, ""),
    ((429, {"overLimit": {"code": 429, "message": "slow down"}}), 99, 3, "429: slow down; repeat the command when"),
    (
        (500, {"computeFault": {"code": 500, "message": "Unexpected API Error."}}),
        99,
        3,
        "500: Unexpected API Error; see",
    ),
    ((200, b"<html>a portal</html>"), 99, 3, "its answer is not a JSON object; is this Nova?"),
    ((200, {"servers": None}), 99, 3, "Nova answers GET /servers/detail?all_tenants=True&soft_deleted=True&limit=1000"),
]


@pytest.mark.parametrize("answer, times, wanted, told", NOVA_FAULTS)
def test_a_nova_that_fails_while_it_is_read(known, nova, monkeypatch, answer, times, wanted, told):
    monkeypatch.setattr(service, "RETRY_DELAY", 0.001)
    left = iter([answer] * times)
    nova.before = lambda path, asked: next(left, None) if path == "/servers/detail" else None
    position = known.state().position
    code, out, err = known.run("import", "--nova", nova.url)
    assert code == wanted and told in err and err.count("\n") == bool(told), (out, err)
    assert known.state().position == position


@pytest.mark.parametrize(
    "path, answer, told",
    [
        ("/os-aggregates", {"aggregates": [{"name": "rack"}]}, "(KeyError: 'uuid')"),
        ("/os-hypervisors/detail", {"hypervisors": [{"id": "1"}]}, "(KeyError: 'service')"),
        ("/servers/detail", {"servers": [{"name": "vm"}]}, "(KeyError: 'id')"),
        ("/os-services", {"services": ["nova-compute"]}, "(AttributeError: "),
        ("/os-server-groups", {"server_groups": [{"rules": {"max_server_per_host": "many"}}]}, "(ValueError: "),
        ("", {"versions": "all"}, "no microversion is in its answer"),
    ],
)
def test_a_nova_that_answers_something_else(known, nova, path, answer, told):
    nova.before = lambda asked_path, asked: (200, answer) if asked_path == path else None
    code, out, err = known.run("import", "--nova", nova.url)
    assert code == 3 and told in err and err.count("\n") == 1 and out == ""


def test_a_nova_that_shows_no_images(stock, ours):
    """Before microversion 2.98 the properties of images are not known, and count as no difference."""
    old = NovaAnswers("2.96")
    try:
        small(stock)
        tapped(ours, "host-1", "host-2")
        assert ours.run("import", "--nova", old.url)[0] == 0
        assert ours.state().tracked.get(VM).image_properties == {}
        old.max_version = "2.68"
        code, _, err = ours.run("import", "--nova", old.url)
        assert code == 3 and "Nova has microversions up to 2.68, wanted 2.69" in err
    finally:
        old.close()


def test_a_cell_of_nova_that_is_down_while_servers_are_listed(known, nova):
    """Nova leaves its servers out of pages, and is up again when the rest is read."""
    seen, answered, position = [], nova._services, known.state().position

    def services(asked):
        nova.down = set() if seen else {"host-1"}
        seen.append(asked)
        return answered(asked)

    nova._services = services
    code, _, err = known.run("import", "--nova", nova.url)
    assert code == 3 and "Nova cannot reach one of its cells" in err and known.state().position == position


@pytest.mark.parametrize(
    "change",
    [
        lambda nova: nova.servers.update({"vm-1": ("host-1", {"OS-EXT-SRV-ATTR:host": ...})}),
        lambda nova: nova.down.add("host-1"),
    ],
)
def test_a_cell_of_nova_that_is_down(known, nova, change):
    """Nova lists what it knows without the cell: an import would take the rest for deleted."""
    change(nova)
    code, out, err = known.run("import", "--nova", nova.url)
    assert code == 3 and out == "" and "Nova cannot reach one of its cells" in err


# --- several cells ---------------------------------------------------------------------------------------------------

HOSTS_FILE = """\
+-----------+--------------------------------------+----------+
| Cell Name |              Cell UUID               | Hostname |
+-----------+--------------------------------------+----------+
|   cell1   | 64e6cd05-2dfa-4b2f-b6d6-7a2f2f4ec4f1 |  host-1  |
|   cell2   | 5a6cdd24-9e85-4a9c-8bb2-5a6a1f6f7a3d |  host-2  |
+-----------+--------------------------------------+----------+
"""


def placed(ours):
    """Cell -> names of its providers."""
    return {cell: sorted(ours.state(cell).provider_names) for cell in ours.urls}


PLACED = {"cell0": ["storage"], "cell1": ["host-1", "numa-1", "numa-2"], "cell2": ["host-2"]}


def test_the_cells_of_hosts_come_from_a_file(stock, nova, two_cells, tmp_path):
    """What a consumer holds in two logs has its generation in both."""
    small(stock)
    code, _, err = two_cells.run("import", "--nova", nova.url)
    assert code == 2 and "the cell of 2 hosts is not known (host-1, host-2)" in err
    file = tmp_path / "hosts"
    # (As PowerShell writes the output of a command.)
    file.write_text(HOSTS_FILE, encoding="utf-16")
    two_cells.run("import", "--nova", nova.url, "--hosts", str(file))
    assert placed(two_cells) == PLACED
    assert two_cells.run("compare", "--generations") == (0, "", "0 differences\n")
    generations = {cell: two_cells.state(cell).holders[VM].generation for cell in ("cell0", "cell1")}
    assert generations == {"cell0": 1, "cell1": 1} and VM not in two_cells.state("cell2").holders


def test_the_cells_of_hosts_come_from_the_logs(stock, nova, two_cells):
    """The tap of each cell has its hosts; what is in a log already stays there, also without Nova."""
    small(stock)
    tapped(two_cells, "host-1", cell="cell1")
    tapped(two_cells, "host-2", cell="cell2")
    code, out, err = two_cells.run("import", "--nova", nova.url)
    assert (code, err) == (0, ""), (out, err)
    assert placed(two_cells) == PLACED
    stock.client.put(VM, 1, {uuid_of("host-2"): {"VCPU": 1}})
    assert two_cells.run("import")[0] == 0
    assert VM in two_cells.state("cell2").holders and VM not in two_cells.state("cell1").holders
    stock.client.do("POST", "/resource_providers", {"name": "unknown", "uuid": uuid_of("unknown")})
    code, _, err = two_cells.run("import")
    assert code == 2 and "the cell of 1 host is not known (unknown)" in err


def share(stock, two_cells, nova, *hosts):
    """The storage is shared with some hosts of two cells by an aggregate of its own."""
    small(stock)
    for host, cell in (("host-1", "cell1"), ("host-2", "cell2")):
        tapped(two_cells, host, cell=cell)
    for name in ("storage", *hosts):
        path = f"/resource_providers/{uuid_of(name)}"
        traits = {"storage": ["MISC_SHARES_VIA_AGGREGATE"]}.get(name, ["CUSTOM_FAST"])
        for noun, value in (("traits", traits), ("aggregates", [uuid_of(f"of {hosts}")])):
            generation = stock.client.do("GET", path)["generation"]
            stock.client.do("PUT", f"{path}/{noun}", {"resource_provider_generation": generation, noun: value})
    return two_cells.run("import", "--nova", nova.url)


def test_a_sharing_provider_is_in_the_log_of_its_hosts(stock, nova, two_cells):
    """A host uses only what is in its own log."""
    code, out, err = share(stock, two_cells, nova, "host-2")
    assert (code, err) == (0, ""), (out, err)
    assert placed(two_cells) == {**PLACED, "cell0": [], "cell2": ["host-2", "storage"]}
    state = two_cells.state("cell2")
    assert len(pools_of(state.table).of_host) == 1
    assert two_cells.run("compare", "--nova", nova.url, "--generations")[0] == 0


def test_a_provider_that_is_shared_later_moves_to_the_log_of_its_hosts(stock, nova, two_cells):
    small(stock)
    for host, cell in (("host-1", "cell1"), ("host-2", "cell2")):
        tapped(two_cells, host, cell=cell)
    assert two_cells.run("import", "--nova", nova.url)[0] == 0 and placed(two_cells) == PLACED
    path = f"/resource_providers/{uuid_of('storage')}"
    traits = ["MISC_SHARES_VIA_AGGREGATE"]
    stock.client.do("PUT", f"{path}/traits", {"resource_provider_generation": 5, "traits": traits})
    stock.client.do("PUT", f"{path}/aggregates", {"resource_provider_generation": 6, "aggregates": [uuid_of("a")]})
    other = f"/resource_providers/{uuid_of('host-1')}/aggregates"
    stock.client.do("PUT", other, {"resource_provider_generation": 7, "aggregates": [uuid_of("a")]})
    code, out, err = two_cells.run("import", "--nova", nova.url)
    assert (code, err) == (0, ""), (out, err)
    assert placed(two_cells) == {**PLACED, "cell0": [], "cell1": ["host-1", "numa-1", "numa-2", "storage"]}
    assert two_cells.run("import", "--nova", nova.url)[:2] == (0, "5 providers, 3 consumers: no differences left\n")


def test_a_provider_that_is_shared_with_two_cells_is_named(stock, nova, two_cells):
    code, _, err = share(stock, two_cells, nova, "host-1", "host-2")
    assert code == 0 and placed(two_cells) == PLACED
    assert f"the provider {uuid_of('storage')} (storage) is shared with hosts of 2 cells (cell1, cell2)" in err
    assert "is shared with hosts of 2 cells" in two_cells.run("compare", "--nova", nova.url)[2]


@pytest.mark.parametrize(
    "text, told", [("", "has no row"), (HOSTS_FILE.replace("cell2", "cell7"), "hosts are in the cell cell7")]
)
def test_a_file_of_hosts_that_cannot_be_used(stock, nova, two_cells, tmp_path, text, told):
    small(stock)
    file = tmp_path / "hosts"
    file.write_text(text)
    code, _, err = two_cells.run("import", "--nova", nova.url, "--hosts", str(file))
    assert code == 2 and told in err
    code, _, err = two_cells.run("import", "--nova", nova.url, "--hosts", f"{file}.none")
    assert code == 2 and "cannot be read" in err
