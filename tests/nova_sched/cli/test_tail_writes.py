"""tail shows the writes of Placement's API: as text, with their outcomes, and those that conditions ask for."""

import json

import pytest

from nova_sched.cli import event_text
from nova_sched.cli.main import replay
from nova_sched.projection.write_handlers import WRITE_HANDLERS
from rpc_api import events
from tests.builders import (
    Voice,
    consumer_put,
    created,
    imported,
    inventory_of,
    of,
    providers_reported,
    put,
    put_aggregates,
    put_inventories,
    put_traits,
    uuid_of,
)
from tests.nova_sched.replay import ledger_story
from tests.nova_sched.replay.ledger_story import DISK, at_generation, by, dropped

POOL, VOLUME, VM = map(uuid_of, ("pool", "volume", "vm"))
TEXTS = [
    (created("pool"), f"{POOL} pool request req-r user ada"),
    (created("disk", "pool"), f"{uuid_of('disk')} disk under {POOL} request req-r user ada"),
    (
        events.ProviderChanged(POOL, "lake", uuid_of("rack"), True, "", None),
        f"{POOL} lake under {uuid_of('rack')} request req-r user ada",
    ),
    (events.ProviderDeleted(POOL, "", None), f"{POOL} request req-r user ada"),
    (
        put_inventories("pool", inventory_of(DISK, 100), inventory_of("CUSTOM_X", 1), generation=3),
        f"{POOL} has DISK_GB=100 CUSTOM_X=1 if at generation 3 request req-r user ada",
    ),
    (put_inventories("pool"), f"{POOL} has nothing request req-r user ada"),
    (put_inventories("pool", inventory_of(DISK, 9), kind="add"), f"{POOL} gets DISK_GB=9 request req-r user ada"),
    (put_inventories("pool", inventory_of(DISK, 9), kind="change"), f"{POOL} changes DISK_GB=9 request req-r user ada"),
    (put_inventories("pool", inventory_of(DISK), kind="remove"), f"{POOL} loses DISK_GB request req-r user ada"),
    (put_traits("pool", "A", "B"), f"{POOL} has A B request req-r user ada"),
    (put_traits("pool", generation=2), f"{POOL} has no traits if at generation 2 request req-r user ada"),
    (put_aggregates("pool", "agg"), f"{POOL} is in {uuid_of('agg')} request req-r user ada"),
    (put_aggregates("pool"), f"{POOL} is in no aggregate request req-r user ada"),
    (put(consumer_put("volume", of("pool", 4, DISK))), f"{VOLUME} holds DISK_GB=4 request req-r user ada"),
    (at_generation("volume", None), f"{VOLUME} holds nothing if new request req-r user ada"),
    (
        put(*(consumer_put("volume", generation=number) for number in range(5))),
        f"{VOLUME} holds nothing if at generation 0; {VOLUME} holds nothing if at generation 1; "
        f"{VOLUME} holds nothing if at generation 2; and 2 more request req-r user ada",
    ),
    (dropped("volume"), f"{VOLUME} holds nothing request req-r user ada"),
    (
        events.Reshaped(
            (events.ProviderInventories(POOL, 2, (inventory_of(DISK, 3),)),), (consumer_put("volume"),), "", None
        ),
        f"{POOL} has DISK_GB=3 if at generation 2; {VOLUME} holds nothing request req-r user ada",
    ),
    (
        events.AllocationsPrepared(POOL, "cell0", ("cell0", "cell1"), (consumer_put("volume"),), "", None),
        f"{POOL} in cell0, cell1, home cell0: {VOLUME} holds nothing request req-r user ada",
    ),
    (events.WriteCommitted(POOL, (VOLUME, VM), "", None), f"{POOL} for {VOLUME}; {VM} request req-r user ada"),
    (events.WriteAborted(POOL, (VOLUME,), "", None), f"{POOL} for {VOLUME} request req-r user ada"),
    (events.WriteEnded(POOL, "", None), f"{POOL} request req-r user ada"),
    (events.ClassCreated("CUSTOM_X", "", None), "CUSTOM_X request req-r user ada"),
    (events.ClassRenamed("CUSTOM_X", "CUSTOM_Y", "", None), "CUSTOM_X to CUSTOM_Y request req-r user ada"),
    (events.ClassDeleted("CUSTOM_X", "", None), "CUSTOM_X request req-r user ada"),
    (events.TraitCreated("CUSTOM_T", "", None), "CUSTOM_T request req-r user ada"),
    (events.TraitDeleted("CUSTOM_T", "", None), "CUSTOM_T request req-r user ada"),
    (imported("pool", 9), f"{POOL} pool with nothing at generation 9 if new request req-r user ada"),
    (
        imported("disk", 9, inventory_of(DISK, 100), parent="pool", before=4),
        f"{uuid_of('disk')} disk under {POOL} with DISK_GB=100 at generation 9 if at generation 4 "
        "request req-r user ada",
    ),
    (
        events.ConsumerImported(consumer_put("volume", of("pool", 4, DISK), generation=None), 7, "", None),
        f"{VOLUME} holds DISK_GB=4 if new at generation 7 request req-r user ada",
    ),
]


@pytest.mark.parametrize("data, text", TEXTS, ids=range(len(TEXTS)))
def test_the_text_of_a_write(data, text):
    assert event_text.text_of(Voice("placement/one").say(by("r", data))) == text


def test_every_write_has_a_text():
    assert WRITE_HANDLERS.keys() == {data.schema.__name__ for data, _ in TEXTS}


@pytest.mark.parametrize(
    "data, text",
    [
        (providers_reported("a"), "a 1 provider, VCPU=8 MEMORY_MB=16384"),
        (events.ProvidersReported("a", b"\xc1"), "a a tree that cannot be read"),
        (events.AuthorityPassed("a", "nova"), "a to nova"),
        (ledger_story.STORY[13], f"b enabled 0 instances root provider {uuid_of('root-b')}, authority nova"),
    ],
)
def test_the_text_of_a_report(data, text):
    assert event_text.text_of(Voice("compute_agent/a").say(data)) == text


def test_a_write_without_a_user():
    assert event_text.text_of(Voice("placement/one").say(by("r", dropped("volume"), None))).endswith(" request req-r")


@pytest.fixture(scope="module")
def log():
    return ledger_story.told()


def lines(capsys, log, *words, code=0):
    assert replay(["tail", "--log", f"cell1={log.log.url}", "--no-cache", *words]) == code
    return capsys.readouterr().out.splitlines()


OUTCOMES = {
    3: "accepted, generation 0",
    4: "accepted, generation 1",
    5: "accepted, generation 2",
    6: "accepted, generation 3",
    7: "accepted, generation 1",
    8: f"refused: DISK_GB of provider {POOL}: 40 used, 70 asked, 100 there",
    9: f"refused: consumer {VOLUME} has generation 1, expected None",
    10: "accepted, generation 2",
    11: f"refused: provider {POOL} has generation 5, expected 1",
    12: "accepted, generation 0",
    13: "accepted, generation 1",
    15: "accepted, generation 1",
    16: "accepted",
    17: "accepted",
    19: "accepted",
    20: "refused: the agent of host a says what its consumers hold",
    21: "accepted, gone",
    22: f"refused: somebody holds resources of provider {POOL}",
    23: "accepted, generation 7",
}


@pytest.mark.parametrize(
    "words, positions",
    [
        (["--outcomes"], list(OUTCOMES)),
        (["--type", "AllocationsPut"], [7, 8, 9, 10, 15, 20]),
        (["--type", "AllocationsPut", "-n", "1"], [20]),
        (["--type", "AllocationsPut", "10:15"], [10, 15]),
        (["--type", "AllocationsPut", "-g", "refused"], [8, 9, 20]),
        (["--type", "AllocationsPut", "--no-outcomes"], []),
        ([], []),
    ],
)
def test_outcomes(log, capsys, words, positions):
    shown = lines(capsys, log, *words, "--template", "{position}={outcome}")
    assert [line for line in shown if not line.endswith("=-")] == [f"{place}={OUTCOMES[place]}" for place in positions]


def test_forms(log, capsys):
    (line,) = lines(capsys, log, "7:7", "--outcomes")
    assert "AllocationsPut  [accepted, generation 1] " in line and line.endswith("user ada by placement/one#5")
    (found,) = json.loads("\n".join(lines(capsys, log, "10:10", "--outcomes", "-o", "json")))
    assert found["outcome"] == {"verdict": "accepted", "reason": None, "generations": {VOLUME: 2}}
    assert found["data"]["consumers"][0]["consumer_type"] == "VOLUME" and found["data"]["user_id"] == "bob"
    shown = lines(capsys, log, "4:4", "--template", "{provider} {request} {user} {instance}")
    assert shown == [f"{POOL} req-disks ada -"]
    assert lines(capsys, log, "15:15", "--template", "{instance} {project}") == [f"{VM} blue"]
    assert "\x1b[35mInventoriesPut" in lines(capsys, log, "4:4", "--color", "always")[0]


@pytest.mark.parametrize(
    "words, positions",
    [
        (["--instance", VOLUME], [7, 9, 10, 21]),
        (["--instance", VM], [15]),
        (["--request", "req-volume"], [7, 9, 10, 21]),
        (["--request", "req-disks"], [4]),
        (["--request", "req-names"], [16, 17]),
        (["--project", "blue"], [15]),
        (["--provider", POOL], [3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 19, 20, 22, 23]),
        (["--provider", "pool"], [3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 19, 20, 22, 23]),
        (["--provider", "lake", ":5"], [3, 4, 5]),
        (["--provider", "root-b"], [12, 13, 14, 15]),
        (["--provider", "a"], [2, 19]),
        (["--provider", "pool", "--type", "ProviderDeleted"], [22]),
        (["--provider", "nothing"], []),
        (["--host", "b"], [12, 13, 14, 15]),
        (["--host", "b", "15:15"], [15]),
        (["--host", "[b]"], [12, 13, 14, 15]),
        (["--host", "a"], [2, 19]),
        (["7:10", "--exclude", f"instance={VOLUME}"], [8]),
        (["3:7", "--exclude", f"provider={POOL}"], []),
        (["15:15", "--exclude", "project=blue"], []),
    ],
)
def test_conditions(log, capsys, words, positions):
    shown = lines(capsys, log, *words, "--template", "{position}")
    assert [int(line) for line in shown] == positions
