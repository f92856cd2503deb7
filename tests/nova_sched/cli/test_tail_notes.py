"""What tail says of claims and policies beside the event: the outcome, and what was changed."""

import csv
import io
import json
import re

import pytest

from nova_sched.cli import event_notes
from nova_sched.cli.main import replay
from nova_sched.replay.decisions import outcomes
from nova_sched.replay.decisions.policies import differences
from nova_sched.replay.state.history import History, SnapshotCache
from nova_sched.selection.policy import Policy
from rpc_api import events
from tests.builders import claim, inventory_of, of, report, tree
from tests.nova_sched.cli.test_tail import Following, Told, lines
from tests.nova_sched.replay.logs import Written

ROOM = inventory_of("VCPU", 4)
#: Of claims for 1, 2 and 2 VCPUs of 4, the first two are accepted; then room is made, and it is enough for the fourth.
SAID = [
    report("a", inventory=tree("a", inventories=(ROOM,))),
    claim("vm-1", "a", of("a", 1)),
    claim("vm-2", "a", of("a", 2)),
    claim("vm-3", "a", of("a", 2)),
    events.ClaimReleased(claim("vm-1", "a").consumer_uuid, claim("vm-1", "a").claim_uuid, "left"),
    claim("vm-4", "a", of("a", 2)),
    claim("vm-5", "b", of("b", 1)),
]
VERDICTS = ["accepted", "accepted", "refused: VCPU", "accepted", "refused: "]


@pytest.fixture
def log(tmp_path):
    found = Told(tmp_path / "log.db")
    for second, said in enumerate(SAID, 1):
        found.say(second, said, by=f"compute_agent/{said.host}" if isinstance(said, type(SAID[0])) else "scheduler/one")
    yield found
    found.log.close()


def verdicts(shown):
    """The texts in brackets in lines of -o pretty."""
    return [re.search(r"ClaimProposed +(?:\[([^\]]*)\])?", line)[1] for line in shown if "ClaimProposed" in line]


def same(found, wanted):
    return len(found) == len(wanted) and all(
        one.startswith(two) if two else not one for one, two in zip(found, wanted, strict=True)
    )


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["--type", "ClaimProposed"], VERDICTS),
        (["--outcomes"], VERDICTS),
        (["--type", "ClaimProposed", "-n", "2"], VERDICTS[3:]),
        (["--type", "ClaimProposed", "4:4"], VERDICTS[2:3]),
        (["--type", "ClaimProposed", "--since", "2023-11-14T22:13:24Z"], VERDICTS[2:]),
        (["--type", "ClaimProposed", "-g", "refused"], [VERDICTS[2], VERDICTS[4]]),
        (["--type", "ClaimProposed", "-g", r"\[accepted", "-n", "1"], VERDICTS[3:4]),
        (["--type", "ClaimProposed", "--instance", claim("vm-3", "a").instance_uuid], VERDICTS[2:3]),
        (["--type", "ClaimProposed", "--no-outcomes"], [None] * 5),
        ([], [None] * 5),
    ],
)
def test_whether_claims_were_accepted(log, capsys, words, wanted):
    assert same(verdicts(lines(capsys, "--log", log.name, "--no-cache", *words)), wanted)


def test_other_types_are_shown_without_a_fold(log, capsys, monkeypatch):
    monkeypatch.setattr(outcomes.Outcomes, "of", lambda *of: pytest.fail("folded"))
    assert len(lines(capsys, "--log", log.name)) == 8
    assert len(lines(capsys, "--log", log.name, "--type", "ClaimReleased", "--outcomes")) == 1


def test_outcomes_in_other_forms(log, capsys):
    words = ("--log", log.name, "--no-cache", "--type", "ClaimProposed", "4:4")
    assert lines(capsys, *words, "--template", "{outcome}") == ["refused: VCPU"]
    assert json.loads(lines(capsys, *words, "-o", "ndjson")[0])["outcome"] == {"verdict": "refused", "reason": "VCPU"}
    (row,) = csv.DictReader(io.StringIO("\n".join(lines(capsys, *words, "-o", "csv"))))
    assert row["outcome"] == "refused: VCPU"


def test_what_the_log_does_not_hold_is_not_known(log, capsys):
    log.log.truncate_before(3)
    shown = lines(capsys, "--log", log.name, "--no-cache", "--type", "ClaimProposed", code=4)
    assert verdicts(shown) == ["not known"] * 4


def test_it_is_known_again_where_the_log_begins_anew(log, capsys):
    log.log.truncate_before(3)
    log.say(10, events.LogRebased("cell1", 3, False), by="conductor/c")
    log.say(11, SAID[0], by="compute_agent/a")
    log.say(12, claim("vm-9", "a", of("a", 1)))
    assert replay_err(log, capsys) == (4, ["not known"] * 4 + ["accepted"])


def replay_err(log, capsys):
    code = replay(["tail", "--log", log.name, "--no-cache", "--type", "ClaimProposed"])
    said = capsys.readouterr()
    assert "the outcome of some claims of cell1 is not known: the log of cell1 begins at position 3" in said.err
    return code, verdicts(said.out.splitlines())


def test_a_claim_that_is_in_the_log_twice_has_no_second_effect(log, capsys):
    again = log.log
    with again.read_from(3) as reader:
        payload = reader.read(1, 5)[0].payload
    again.append([payload])
    assert verdicts(lines(capsys, "--log", log.name, "--no-cache", "--type", "ClaimProposed"))[-1].startswith(
        "no effect"
    )


def test_following_says_it_of_what_comes(log):
    tail = Following("--log", log.name, "--no-cache", "--type", "ClaimProposed", "-n", "1", "--template", "{outcome}")
    assert tail.shown(1)[0].startswith("refused")
    log.say(20, claim("vm-20", "a", of("a", 2)))
    assert tail.shown(2)[1] == "refused: VCPU"
    log.say(21, events.ClaimReleased(claim("vm-2", "a").consumer_uuid, claim("vm-2", "a").claim_uuid, "left"))
    log.say(22, claim("vm-22", "a", of("a", 2)))
    assert tail.shown(3)[2] == "accepted"
    assert tail.end() == (0, "")


def test_the_order_of_questions_does_not_matter(tmp_path, monkeypatch):
    """Forwards, backwards, in pieces of two records, and from kept states: each claim has its outcome."""
    monkeypatch.setattr(outcomes, "AHEAD", 1)
    written = Written(*SAID)
    asked = [(position, said) for position, said in enumerate(SAID, 1) if isinstance(said, type(SAID[1]))]
    wanted = {said.claim_uuid: verdict for (_, said), verdict in zip(asked, VERDICTS, strict=True)}
    found = outcomes.Outcomes(History({"cell1": written.log}, SnapshotCache(tmp_path)))
    for some in (asked, asked[::-1], asked[2:] + asked[:2]):
        for position, said in some:
            assert str(found.of("cell1", position, said.claim_uuid)).startswith(wanted[said.claim_uuid])
    assert not found.unknown


# --- policies --------------------------------------------------------------------------------------------------------


def adopted(**options):
    policy = Policy(**options)
    return events.PolicyAdopted(policy.digest, policy.to_json())


FEWER = tuple(name for name in Policy().enabled_filters if name != "ComputeFilter")
WEIGHERS = (("RAMWeigher", 2.0), *Policy().weighers[1:-1])


@pytest.mark.parametrize(
    "before, after, changed",
    [
        ({}, {}, []),
        ({}, {"max_attempts": 5}, ["max_attempts 3 -> 5"]),
        ({"enabled_filters": FEWER}, {"enabled_filters": (*FEWER, "RamFilter")}, ["enabled_filters +RamFilter"]),
        ({}, {"enabled_filters": FEWER}, ["enabled_filters -ComputeFilter"]),
        ({"enabled_filters": FEWER}, {"enabled_filters": FEWER[::-1]}, ["enabled_filters in another order"]),
        ({}, {"weighers": WEIGHERS}, ["weighers RAMWeigher 1.0 -> 2.0 -AffinityRoomWeigher"]),
        (
            {"isolated_hosts": ("a",)},
            {"isolated_hosts": ("b",), "host_subset_size": 2},
            ["host_subset_size 1 -> 2", "isolated_hosts -a +b"],
        ),
    ],
)
def test_what_differs_between_policies(before, after, changed):
    assert differences(Policy(**before).to_json(), Policy(**after).to_json()) == changed


def policy_lines(capsys, *words):
    return [re.search(r"PolicyAdopted +(.*) by scheduler", line)[1] for line in lines(capsys, *words)]


def test_a_policy_is_shown_by_what_it_changes_of_that_of_its_service(log, capsys):
    first, second, third = adopted(max_attempts=5), adopted(max_attempts=5, host_subset_size=2), adopted()
    for second_, (said, by) in enumerate(
        [(first, "one"), (third, "two"), (first, "one"), (second, "one"), (third, "two")], 20
    ):
        log.say(second_, said, by=f"scheduler/{by}")
    wanted = [
        f"{first.digest}: max_attempts 3 -> 5; all others are defaults",
        f"{third.digest}: the defaults",
        f"{first.digest}, as before",
        f"{second.digest} after {first.digest}: host_subset_size 1 -> 2",
        f"{third.digest}, as before",
    ]
    words = ("--log", log.name, "--type", "PolicyAdopted")
    assert policy_lines(capsys, *words) == wanted
    assert policy_lines(capsys, *words, "-n", "2") == wanted[3:], "what was before is looked up"
    assert policy_lines(capsys, *words, "-g", "subset_size 1 -> 2") == wanted[3:4]
    assert policy_lines(capsys, *words, "-n", "1", "--full") == [f"{third.digest} {third.options}"]
    row = json.loads(lines(capsys, *words, "-n", "1", "-o", "ndjson")[0])
    assert row["data"]["options"] == third.options


def test_options_that_cannot_be_read_are_told(log, capsys):
    log.say(20, events.PolicyAdopted("0" * 16, "[1]"))
    log.say(21, adopted())
    found = policy_lines(capsys, "--log", log.name, "--type", "PolicyAdopted")
    assert len(found) == 2 and all("the options of a policy cannot be read" in one for one in found)


def test_what_came_before_is_read_once(log, capsys, monkeypatch):
    for second in range(20, 40):
        log.say(second, adopted(max_attempts=second))
    read = []
    real = event_notes.PolicyTrail._read_to
    monkeypatch.setattr(
        event_notes.PolicyTrail,
        "_read_to",
        lambda self, cell, position: read.append(position - self._read.get(cell, -1)) or real(self, cell, position),
    )
    assert len(policy_lines(capsys, "--log", log.name, "--type", "PolicyAdopted")) == 20
    assert sum(one for one in read if one > 0) <= 28
