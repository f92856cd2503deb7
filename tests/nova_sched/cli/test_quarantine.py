"""quarantine shows every event of a log that does not count, and nothing else."""

import csv
import io
import itertools
import json
import re
from pathlib import Path

import pytest

from nova_sched.cli.main import replay
from nova_sched.process import report as service_report
from nova_sched.projection.projection import Projection
from nova_sched.replay.health import quarantine
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import AT_NS, EPOCH, Voice, claim, record_of, report, started
from tests.fuzz.mutation import pack

_names = itertools.count()
ROOT = Path(__file__).parents[3]
AGENT, OTHER, SCHEDULER = Voice("compute_agent/a"), Voice("compute_agent/b"), Voice("scheduler/one")


def event(name="HostLost", version="1.0", producer="conductor/x", values=("a", "r")):
    return [name, version, producer, 1, 1, AT_NS, list(values)]


def raw_record(*batch, epoch=EPOCH):
    return pack([1, epoch, list(batch)])


OPENED = record_of(Voice("conductor/c").say(events.LogOpened("cell1", EPOCH)))
#: A record -> what is shown of it: (index, code, producer, words of the reason).
ROWS = [
    (b"\xc1 junk", (0, "undecodable", None, "cannot be read as msgpack")),
    (
        pack([LEVEL + 1, EPOCH]),
        (0, "unknown-format", None, f"a record of level {LEVEL + 1}, this process knows 1 to {LEVEL}"),
    ),
    (pack([2, EPOCH, [event()]]), (0, "newer-level", "conductor/x", "in a record of level 2, the log has 1")),
    (
        record_of(Voice("operator/o").say(events.LevelPinned(1))),
        (0, "lower-level", "operator/o", "to level 1, it is at"),
    ),
    (raw_record(*[None] * 10_001), (0, "too-large", None, "10001 events")),
    (raw_record(event(), ["x"]), (1, "undecodable", None, "is not [name, version")),
    (raw_record(event("HostMelted")), (0, "unknown-type", "conductor/x", "'HostMelted'")),
    (raw_record(event(version="1.7")), (0, "newer-version", "conductor/x", "HostLost 1.7 is newer")),
    (raw_record(event(values=[5, "r"])), (0, "invalid", "conductor/x", "HostLost.host: a string")),
    (raw_record(event(), epoch="another"), (0, "foreign-epoch", "conductor/x", "a record for epoch another")),
    (raw_record(epoch="empty"), (0, "foreign-epoch", None, "a record for epoch empty")),
    (
        record_of(Voice("scheduler/s").say(events.HostSeen("a"))),
        (0, "not-allowed", "scheduler/s", "whose role may not"),
    ),
    (
        record_of(Voice("conductor/x").say(events.AccountsRequired(True))),
        (0, "not-its-account", "conductor/x", "appended with none"),
    ),
    (
        record_of(Voice("compute_agent/z").say(report("a"))),
        (0, "not-its-host", "compute_agent/z", "a HostReported for a by"),
    ),
    (
        record_of(Voice("compute_agent/y").say(report("y", inventory=b"\xc1"))),
        (0, "invalid", "compute_agent/y", "msgpack"),
    ),
]


@pytest.fixture
def url(request):
    url = f"memory://quarantine-{next(_names)}"
    with open_log(url) as log:
        log.append([OPENED, record_of(Voice("compute_agent/a").say(report("a")))])
        yield url
        log.delete()


def shown(capsys, *arguments):
    """(exit code, rows as dictionaries, what is on stderr) of a run with JSON: one array."""
    code = replay(["quarantine", "-o", "json", *arguments])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


@pytest.mark.parametrize("record, told", ROWS, ids=[told[1] + f"-{number}" for number, (_, told) in enumerate(ROWS)])
def test_each_kind_is_shown(url, capsys, record, told):
    with open_log(url) as log:
        log.append([record])
    code, (row,), err = shown(capsys, "--log", f"cell1={url}")
    index, kind, producer, words = told
    assert (code, row["cell"], row["position"], row["index"], row["code"], row["producer"]) == (
        1,
        "cell1",
        2,
        index,
        kind,
        producer,
    )
    assert words in row["reason"] and "raw" not in row and err == f"1 {kind}\n"


def test_a_host_in_cell0s_log(url, capsys):
    code, (row,), _ = shown(capsys, "--log", f"cell0={url}")
    assert (code, row["code"], row["producer"]) == (1, "wrong-log", "compute_agent/a")


def test_the_end_of_a_claim_by_a_service_that_does_not_know_the_level(url, capsys):
    scheduler, held = Voice("scheduler/two"), claim("vm", "a")
    with open_log(url) as log:
        log.append([record_of(Voice("operator/o").say(events.LevelPinned(2)))])
        log.append([record_of(scheduler.say(held), level=2)])
        log.append([record_of(scheduler.say(events.ClaimReleased(held.consumer_uuid, held.claim_uuid, "x")), level=1)])
    code, (row,), _ = shown(capsys, "--log", f"cell1={url}")
    assert (code, row["position"], row["code"], row["producer"]) == (1, 4, "older-level", "scheduler/two")


def test_the_codes_are_those_of_the_sources():
    sources = [ROOT / "rpc_api/codec.py", *(ROOT / "nova_sched/projection").glob("*.py")]
    calls = re.compile(
        r'(?:(?:SetAside|_Unreadable|_aside_record|_set_aside)\(\s*(?:position,\s+\w+,\s+)?|return \(?\s*)"([a-z-]+)",'
    )
    assert {code for path in sources for code in calls.findall(path.read_text())} == quarantine.CODES
    assert {told[1] for _, told in ROWS} | {
        "wrong-log",
        "older-level",
        "busy",
        "not-its-authority",
        "not-rebased",
    } == quarantine.CODES


def test_nothing_is_set_aside(url, capsys):
    assert shown(capsys, "--log", f"cell1={url}") == (0, [], "no event is set aside\n")


def test_codes_cells_and_bytes_are_chosen(url, capsys):
    with open_log(url) as log:
        log.append([record for record, _ in ROWS])
    logs = ("--log", f"cell1={url}", "--log", f"cell2={url}")
    code, rows, err = shown(capsys, *logs, "--cell", "cell2", "--code", "invalid", "--code", "undecodable", "--raw")
    assert code == 1 and {row["cell"] for row in rows} == {"cell2"}
    assert [row["code"] for row in rows] == ["undecodable", "undecodable", "invalid", "invalid"]
    assert rows[0]["raw"] == b"\xc1 junk".hex() and rows[2]["raw"].startswith(pack(event(values=[5, "r"])).hex())
    assert all(len(row["raw"]) <= 128 for row in rows)
    assert err == "2 invalid\n2 undecodable\n"
    assert shown(capsys, *logs, "--code", "wrong-log")[:2] == (0, [])


def test_table_and_csv(url, capsys):
    with open_log(url) as log:
        log.append([raw_record(event("Host\nMelted\x1b[2J"), event(producer="conductor/\x07", values=[1]))])
    assert replay(["quarantine", "--log", f"cell1={url}"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and lines[0].split() == [
        "cell",
        "position",
        "index",
        "time",
        "state",
        "code",
        "producer",
        "reason",
    ]
    assert "unknown-type" in lines[1] and r"conductor/\x07" in lines[2] and all(line.isprintable() for line in lines)
    assert replay(["quarantine", "--log", f"cell1={url}", "-o", "csv", "--raw"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["code"] for row in rows] == ["unknown-type", "invalid"]
    assert bytes.fromhex(rows[1]["raw"]) == pack(event(producer="conductor/\x07", values=[1]))


def test_all_are_shown_and_only_one_record_is_kept(url, capsys, monkeypatch):
    """More than a projection keeps, in one record and over many."""
    with open_log(url) as log:
        log.append([raw_record(*[event("HostMelted")] * 1500), *[raw_record(event("HostMelted"))] * 700])
    most, fold = [], Projection.fold

    def folded(self, records):
        answer = fold(self, records)
        most.append(len(self.quarantine))
        return answer

    monkeypatch.setattr(Projection, "fold", folded)
    code, rows, err = shown(capsys, "--log", f"cell1={url}")
    assert (code, len(rows), err) == (1, 2200, "2200 unknown-type\n")
    assert max(most) == 1500 and most[-1] == 1


def test_a_log_whose_first_records_are_gone(capsys):
    url = f"memory://quarantine-{next(_names)}"
    with open_log(url) as log:
        log.append([OPENED, b"gone", b"\xc1 kept", record_of(AGENT.say(started("vm", "a")), epoch=EPOCH)])
        log.truncate_before(2)
        code, rows, err = shown(capsys, "--log", f"cell1={url}")
        assert code == 4 and [row["position"] for row in rows] == [2]
        assert "begins at position 2" in err and "1 undecodable" in err
        # Rebased, it says all there is.
        log.append([record_of(Voice("conductor/c").say(events.LogRebased("cell1", 3)))])
        log.truncate_before(4)
        assert shown(capsys, "--log", f"cell1={url}")[0] == 0
        log.delete()


@pytest.mark.parametrize(
    "command, code, told",
    [
        (["--log", "cell1=memory://nobody-made-it"], 3, "has no log of that name"),
        (["--log", "cell1=memory://nobody-made-it", "--code", "nonsense"], 3, "has no log of that name"),
        ([], 2, "no log is named"),
    ],
)
def test_wrong_commands(capsys, command, code, told):
    assert replay(["quarantine", *command]) == code
    assert told in capsys.readouterr().err


def test_a_code_that_there_is_not(url, capsys):
    assert replay(["quarantine", "--log", f"cell1={url}", "--code", "nonsense"]) == 2
    assert "wanted one of busy, foreign-epoch, invalid" in capsys.readouterr().err


def test_a_cell_that_is_not_named(url, capsys):
    assert replay(["quarantine", "--log", f"cell1={url}", "--cell", "cell9"]) == 2
    assert "there is no log of 'cell9' among cell1" in capsys.readouterr().err


def test_the_report_shows_the_last_ones():
    projection = Projection("cell1")
    assert service_report.projection_facts(projection)["last set aside"] == "none"
    records = [OPENED, *(raw_record(event(f"Type{number}")) for number in range(9))]
    projection.fold([(number, codec.decode_record(payload)) for number, payload in enumerate(records)])
    facts = service_report.projection_facts(projection)["last set aside"]
    assert list(facts) == ["5.0", "6.0", "7.0", "8.0", "9.0"]
    assert facts["9.0"].startswith("unknown-type: an event of the type 'Type8'")


def test_a_claim_that_is_refused_is_not_set_aside(url, capsys):
    with open_log(url) as log:
        log.append(
            [record_of(SCHEDULER.say(claim("vm", "nowhere"))), record_of(OTHER.say(events.HostConfirmed("b", 1)))]
        )
    assert shown(capsys, "--log", f"cell1={url}")[0] == 0
