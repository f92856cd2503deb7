"""import, compare and export over HTTP: what is written, what is named, and what happens again."""

import json

import pytest

from nova_sched.cli.main import main, replay
from nova_sched.migration.from_logs import placement_of
from tests.nova_sched.migration.clouds import small
from tests.placement_api.client import Client, allocations
from tests.placement_api.in_process import make_app
from tests.placement_api.regions import uuid_of

HOST, NUMA, VM, GOLD, STORAGE = map(uuid_of, ("host-1", "numa-1", "vm-1", "gold", "storage"))


def same(stock, state):
    """Whether a log knows what a stock Placement knows, with all generations."""
    return placement_of({"cell1": stock.projection}) == placement_of({"cell1": state})


def test_a_cloud_is_taken_over_as_it_is_and_a_second_import_writes_nothing(stock, ours):
    small(stock)
    code, out, err = ours.run("compare")
    assert code == 1 and f"provider {HOST} (host-1): exists: True in the cloud, nothing in the logs" in out
    code, out, err = ours.run("import")
    assert (code, err) == (0, ""), (out, err)
    assert out.splitlines()[-1] == "5 providers, 3 consumers: no differences left"
    state = ours.state()
    assert same(stock, state) and state.table.generation.item(state.trees[HOST].rows[HOST]) > 4
    position = state.position
    assert ours.run("import") == (0, "5 providers, 3 consumers: no differences left\n", "")
    assert ours.state().position == position
    assert ours.run("compare", "--generations") == (0, "", "0 differences\n")


#: What a client does meanwhile -> what the comparison says, and how many events the import writes.
CHANGES = {
    "a consumer comes": (
        lambda client: client.put(uuid_of("new"), None, {HOST: {"VCPU": 1}}),
        [f"consumer {uuid_of('new')}: VCPU of {HOST}: 1 in the cloud, nothing in the logs"],
        2,
    ),
    "a consumer goes": (
        lambda client: client.ask("DELETE", f"/allocations/{VM}"),
        [f"consumer {VM}: VCPU of {HOST}: nothing in the cloud, 2 in the logs"],
        1,
    ),
    "a consumer moves": (
        lambda client: client.put(VM, 1, {uuid_of("host-2"): {"VCPU": 1}}),
        [f"consumer {VM}: VCPU of {uuid_of('host-2')}: 1 in the cloud, nothing in the logs"],
        2,
    ),
    "another project": (
        lambda client: client.ask(
            "PUT", f"/allocations/{VM}", allocations(1, {"host-1": {"VCPU": 2}}) | {"project_id": "mine"}
        ),
        [f"consumer {VM}: project: mine in the cloud, project in the logs"],
        2,
    ),
    "an inventory changes": (
        lambda client: client.ask(
            "PUT",
            f"/resource_providers/{NUMA}/inventories/VCPU",
            {"resource_provider_generation": 3, "total": 6, "allocation_ratio": 2.5},
        ),
        [
            f"provider {NUMA} (numa-1): inventory VCPU allocation_ratio: 2.5 in the cloud, 1.0 in the logs",
            f"provider {NUMA} (numa-1): inventory VCPU total: 6 in the cloud, 4 in the logs",
        ],
        1,
    ),
    "an inventory goes": (
        lambda client: client.ask("DELETE", f"/resource_providers/{NUMA}/inventories/VCPU"),
        [f"provider {NUMA} (numa-1): inventory VCPU: nothing in the cloud, 4 in the logs"],
        1,
    ),
    "traits and aggregates": (
        lambda client: [
            client.do(
                "PUT",
                f"/resource_providers/{NUMA}/traits",
                {"resource_provider_generation": 3, "traits": ["HW_CPU_X86_AVX2"]},
            ),
            client.do(
                "PUT", f"/resource_providers/{NUMA}/aggregates", {"resource_provider_generation": 4, "aggregates": []}
            ),
        ],
        [
            f"provider {NUMA} (numa-1): trait CUSTOM_FAST: nothing in the cloud, True in the logs",
            f"provider {NUMA} (numa-1): trait HW_CPU_X86_AVX2: True in the cloud, nothing in the logs",
            f"provider {NUMA} (numa-1): aggregate {uuid_of('pool')}: nothing in the cloud, True in the logs",
        ],
        1,
    ),
    "another name and parent": (
        lambda client: client.do(
            "PUT", f"/resource_providers/{NUMA}", {"name": "node", "parent_provider_uuid": uuid_of("host-2")}
        ),
        [
            f"provider {NUMA} (node): name: node in the cloud, numa-1 in the logs",
            f"provider {NUMA} (node): parent: {uuid_of('host-2')} in the cloud, {HOST} in the logs",
        ],
        1,
    ),
    "two swap their names": (
        lambda client: [
            client.do("PUT", f"/resource_providers/{uuid_of('host-2')}", {"name": "other"}),
            client.do("PUT", f"/resource_providers/{HOST}", {"name": "host-2"}),
            client.do("PUT", f"/resource_providers/{uuid_of('host-2')}", {"name": "host-1"}),
        ],
        [f"provider {HOST} (host-2): name: host-2 in the cloud, host-1 in the logs"],
        4,
    ),
    "a provider is deleted and created under its name": (
        lambda client: [
            client.do("DELETE", f"/resource_providers/{NUMA}"),
            client.do(
                "POST",
                "/resource_providers",
                {"name": "numa-1", "uuid": uuid_of("again"), "parent_provider_uuid": HOST},
            ),
        ],
        [f"provider {NUMA} (numa-1): exists: nothing in the cloud, True in the logs"],
        3,
    ),
    "a tree is turned around": (
        lambda client: [
            client.do("PUT", f"/resource_providers/{NUMA}", {"name": "numa-1", "parent_provider_uuid": None}),
            client.do("PUT", f"/resource_providers/{HOST}", {"name": "host-1", "parent_provider_uuid": NUMA}),
        ],
        [f"provider {HOST} (host-1): parent: {NUMA} in the cloud, nothing in the logs"],
        2,
    ),
    "classes and traits": (
        lambda client: [client.do("PUT", "/resource_classes/CUSTOM_X"), client.do("PUT", "/traits/CUSTOM_Y")],
        [
            "class CUSTOM_X: exists: True in the cloud, nothing in the logs",
            "trait CUSTOM_Y: exists: True in the cloud, nothing in the logs",
        ],
        2,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_is_named_and_only_that_is_written(stock, ours, name):
    change, lines, count = CHANGES[name]
    small(stock)
    assert ours.run("import")[0] == 0
    answer = change(stock.client)
    assert getattr(answer, "status", 204) < 300, answer
    code, out, _ = ours.run("compare")
    assert code == 1 and not set(lines) - set(out.splitlines()), out
    code, out, err = ours.run("import")
    assert code == 0 and f", {count} event{'s' * (count > 1)} written, 0 without effect" in out, (out, err)
    assert same(stock, ours.state())


def test_the_comparison_as_data(stock, ours):
    small(stock)
    assert ours.run("import")[0] == 0
    stock.client.do("PUT", "/traits/CUSTOM_Y")
    code, out, _ = ours.run("compare", "-o", "json")
    assert code == 1
    assert json.loads(out) == [
        {"kind": "trait", "id": "CUSTOM_Y", "name": None, "what": "exists", "cloud": True, "ours": None}
    ]
    assert ours.run("compare", "-o", "ndjson")[1].count("\n") == 1


def test_a_client_goes_on_with_the_generations_that_it_remembers(stock, ours):
    """After the import our API accepts exactly what the stock Placement would have accepted."""
    small(stock)
    generation = stock.client.do("GET", f"/resource_providers/{NUMA}")["generation"]
    consumer = stock.client.generation(VM)
    assert ours.run("import")[0] == 0
    with ours_served(ours) as client:
        body = {"resource_provider_generation": generation - 1, "traits": []}
        assert client.ask("PUT", f"/resource_providers/{NUMA}/traits", body).status == 409
        body["resource_provider_generation"] = generation
        assert client.ask("PUT", f"/resource_providers/{NUMA}/traits", body).status == 200
        assert client.put(VM, consumer + 1, {HOST: {"VCPU": 1}}).status == 409
        assert client.put(VM, consumer, {HOST: {"VCPU": 1}}).status == 204
        # What was over-committed may be lowered, and not raised.
        assert client.put(GOLD, 1, {HOST: {"CUSTOM_GOLD": 1, "VCPU": 1}}).status == 204
        assert client.put(uuid_of("more"), None, {HOST: {"CUSTOM_GOLD": 1}}).status == 409
    # From here on the stock Placement has an older state, which must not come back by mistake.
    code, _, err = ours.run("import")
    assert code == 2 and "clients have written to the Placement API of nova_sched (placement/test in the log" in err
    assert not same(stock, ours.state())
    assert ours.run("import", "--overwrite")[0] == 0 and same(stock, ours.state())


class ours_served:
    """Our API over the log of the cell, for as long as a block lasts."""

    def __init__(self, ours):
        self._ours = ours

    def __enter__(self):
        from placement_api.region import Region
        from tests.placement_api.client import config_of

        self._region = Region([("cell1", self._ours.urls["cell1"])], "cell1", "placement/test")
        self._region.start().wait_ready(30.0)
        return Client(make_app(config_of(), self._region))

    def __exit__(self, *exc):
        self._region.close()


def test_a_cloud_is_given_back_to_an_empty_placement_and_to_the_old_one(stock, target, ours):
    """What is over-committed is given back, too. A second export writes nothing."""
    small(stock)
    assert ours.run("import")[0] == 0
    code, out, err = ours.run("export", stock=target)
    assert (code, err) == (0, ""), (out, err)
    assert ours.run("compare", stock=target) == (0, "", "0 differences\n")
    assert target.client.held(GOLD) == {HOST: {"CUSTOM_GOLD": 1}}
    wrote = [request for request in target.requests if request[0] != "GET"]
    assert ours.run("export", stock=target)[0] == 0
    assert [request for request in target.requests if request[0] != "GET"] == wrote
    # The old one has what ours has not, and the reverse.
    for name in ("another name and parent", "a consumer moves", "classes and traits", "two swap their names"):
        CHANGES[name][0](stock.client)
    stock.client.do("POST", "/resource_providers", {"name": "only-there", "uuid": uuid_of("only-there")})
    assert ours.run("export")[0] == 0
    assert ours.run("compare")[0] == 0


def test_an_export_needs_the_name_of_its_placement(ours, stock, capsys):

    assert main(["export", "--log", f"cell1={ours.urls['cell1']}"]) == 2
    assert "--placement is missing" in capsys.readouterr().err


def test_the_replay_tool_audits_and_shows_an_import(stock, ours, capsys):
    """All that an import wrote is right by the laws of the audit, and the history of a consumer names it."""
    small(stock)
    for change in (None, "a consumer moves", "a tree is turned around", "classes and traits"):
        if change is not None:
            CHANGES[change][0](stock.client)
        assert ours.run("import")[0] == 0
    log = ["--log", f"cell1={ours.urls['cell1']}"]
    assert replay([*log, "replay", "--verify"]) == 0, capsys.readouterr()
    capsys.readouterr()
    assert replay([*log, "tail", "--instance", VM]) == 0
    out = capsys.readouterr().out
    assert out.count("ConsumerImported") == 2 and f"{VM} holds" in out
