"""tail: ranges, conditions, forms, several logs, the cursor file, and what comes."""

import csv
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from nova_sched.cli import event_text
from nova_sched.cli.main import main, replay
from nova_sched.replay.logs import cursor
from rpc_api import codec, events
from rpc_api.log import open_log
from tests.builders import EPOCH, Voice, claim, record_of, released, report, started, uuid_of
from tests.servers import wait_until

_names = itertools.count()
SECOND = 10**9
BEGIN = 1_700_000_000 * SECOND  # 2023-11-14T22:13:20Z


class Told:
    """A log in a file, and its producers: record ``number`` holds events of ``number`` seconds after BEGIN."""

    def __init__(self, path, cell="cell1", epoch=EPOCH):
        self.url = f"sqlite:///{path}?synchronous=normal"
        self.name = f"{cell}={self.url}"
        self.epoch = epoch
        self.log = open_log(self.url)
        self.voices = {}
        self.say(0, events.LogOpened(cell, epoch), by="conductor/c")

    def say(self, second, *said, by="scheduler/one"):
        voice = self.voices.setdefault(by, Voice(by))
        batch = [voice.say(one)._replace(at_ns=BEGIN + second * SECOND) for one in said]
        self.log.append([record_of(*batch, epoch=self.epoch)])


@pytest.fixture
def told(tmp_path):
    """Records 0: LogOpened; 1 to 9: a claim and its release each; 10: bytes that are no record."""
    told = Told(tmp_path / "log.db")
    for number in range(1, 10):
        told.say(number, claim(f"vm-{number}", f"host-{number}"), released(f"vm-{number}"))
    told.log.append([b"\xc1 junk"])
    yield told
    told.log.close()


def lines(capsys, *arguments, code=0):
    assert replay(["tail", *arguments]) == code
    return capsys.readouterr().out.splitlines()


def places(capsys, *arguments, code=0):
    """[position.index, ...] of what is shown."""
    shown = lines(capsys, *arguments, "--template", "{position}.{index}", code=code)
    return [(int(position), int(index)) for position, index in (line.split(".") for line in shown)]


def both(*positions):
    return [(position, index) for position in positions for index in (0, 1)]


@pytest.mark.parametrize(
    "arguments, shown",
    [
        ([], [(0, 0), *both(*range(1, 10)), (10, 0)]),
        (["3:4"], both(3, 4)),
        (["cell1:3:3"], both(3)),
        (["8:"], [*both(8, 9), (10, 0)]),
        ([":1"], [(0, 0), *both(1)]),
        (["4"], both(4)),
        (["last"], [(10, 0)]),
        (["first"], [(0, 0)]),
        (["-n", "3"], [(9, 0), (9, 1), (10, 0)]),
        (["-n", "2", "--type", "ClaimProposed"], [(8, 0), (9, 0)]),
        (["-n", "0"], []),
        (["2:4", "-n", "1"], [(4, 1)]),
        (["--since", "2023-11-14T22:13:28Z"], [*both(8, 9), (10, 0)]),
        (["--until", "2023-11-14T22:13:21Z"], [(0, 0), *both(1)]),
        (["--since", "2023-11-14T22:13:22Z", "--until", "2023-11-14T22:13:23Z"], both(2, 3)),
        (["--since", "@1700000002.000000001", "--until", "@1700000003.000000000"], both(3)),
        (["@1700000002..1700000003"], both(2, 3)),
        (["@2023-11-14T22:13:22..2023-11-14T22:13:23"], both(2, 3)),
        (["--host", "host-2", "--host", "host-3"], [(2, 0), (3, 0)]),
        (["--host", "host-*", "--instance", uuid_of("vm-5")], [(5, 0)]),
        (["--request", "req-vm-5"], both(5)),
        (["--request", "req-vm-5", "6:"], []),
        (["2:3", "--exclude", "type=ClaimReleased"], [(2, 0), (3, 0)]),
        (["--type", "set-aside"], [(10, 0)]),
        (["-g", r"host-[67] VCPU=1"], [(6, 0), (7, 0)]),
        (["--project", "project", "2:2"], [(2, 0)]),
        (["--cell", "cell1", "1:1"], both(1)),
    ],
)
def test_ranges_and_conditions(told, capsys, arguments, shown):
    assert places(capsys, "--log", told.name, *arguments) == shown


@pytest.mark.parametrize(
    "arguments, code, says, shown",
    [
        (["8:99"], 4, "ends at position 10, got 99", [*both(8, 9), (10, 0)]),
        (["50:60"], 4, "ends at position 10, got 60", []),
        (["--type", "Nothing"], 2, "there is no event type 'Nothing'", []),
        (["--exclude", "colour=red"], 2, "wanted KEY=VALUE", []),
        (["--exclude", "host"], 2, "wanted KEY=VALUE", []),
        (["-g", "("], 2, "not a regular expression", []),
        (["3:4", "--since", "-1h"], 2, "exclude each other", []),
        (["3:4", "-f"], 2, "the range has an end", []),
        (["x:y"], 2, "is not a range", []),
        (["--cell", "cell9"], 2, "no log of 'cell9'", []),
        (["-n", "-1"], 2, "is not a whole number", []),
        (["cell9:1:2"], 2, "no log of 'cell9'", []),
        (["--since", "soon"], 2, "is not a time", []),
        (["--from", "1"], 2, "unrecognized", []),
    ],
)
def test_what_is_not_there(told, capsys, arguments, code, says, shown):
    assert replay(["tail", "--log", told.name, "--template", "{position}.{index}", *arguments]) == code
    said = capsys.readouterr()
    assert says in said.err and "Traceback" not in said.err
    assert said.out.splitlines() == [f"{position}.{index}" for position, index in shown]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--template", "{at} {colour}"], "names the field 'colour', wanted one of at, at_ns, cell"),
        (["--template", "{at.year}"], "names the field 'at.year'"),
        (["--template", "{"], "cannot be read"),
        (["--template", "{}"], "the field ''"),
        (["--template", "{host:d}"], "cannot show an event"),
        (["-o", "template"], "go together"),
        (["-o", "csv", "--template", "{at}"], "go together"),
    ],
)
def test_wrong_templates(told, capsys, arguments, says):
    assert replay(["tail", "--log", told.name, *arguments]) == 2
    assert says in capsys.readouterr().err


def test_forms(told, capsys):
    pretty = lines(capsys, "--log", told.name, "5:5")
    assert pretty[0] == (
        f"2023-11-14T22:13:25.000Z cell1 5.0      ClaimProposed   {uuid_of('vm-5')} on host-5 VCPU=1 "
        "request req-vm-5 by scheduler/one#9"
    )
    assert "SET ASIDE       undecodable: " in lines(capsys, "--log", told.name, "10")[0]
    array = json.loads("\n".join(lines(capsys, "--log", told.name, "5:5", "-o", "json")))
    single = [json.loads(line) for line in lines(capsys, "--log", told.name, "5:5", "-o", "ndjson")]
    assert array == single and array[0]["data"]["host"] == "host-5" and array[0]["type"] == "ClaimProposed"
    assert lines(capsys, "--log", told.name, "-o", "json", "--host", "nobody") == ["[]"]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines(capsys, "--log", told.name, "5:5", "-o", "csv")))))
    assert tuple(rows[0]) == event_text.FIELDS and rows[0]["host"] == "host-5" and rows[1]["host"] == ""
    (raw,) = lines(capsys, "--log", told.name, "5:5", "-o", "raw")
    assert [event.name for event in codec.decode_record(bytes.fromhex(raw)).events] == [
        "ClaimProposed",
        "ClaimReleased",
    ]
    assert lines(capsys, "--log", told.name, "10", "-o", "raw") == [b"\xc1 junk".hex()]


def test_colours_by_type(told, capsys):
    assert "\x1b" not in "".join(lines(capsys, "--log", told.name))
    assert "\x1b[36mClaimProposed" in lines(capsys, "--log", told.name, "5:5", "--color", "always")[0]


def test_every_event_has_a_text():
    """Also kinds that no log here contains: the text names what the event is about."""
    voice = Voice("conductor/x")
    for said in (
        events.HostLost("a", "silent"),
        events.HostSeen("a"),
        events.HostRemoved("a", "gone"),
        report("a", disabled=True),
        report("a", inventory=b"\xc1"),
        events.InstancesTracked("a", (), ()),
        events.AggregateDeleted(uuid_of("x")),
        events.BuildFailed(uuid_of("x"), "req-1", "a", 1, "broke", True),
        started("vm", "a"),
        events.AggregateUpdated(uuid_of("x"), "rack", ("a",), {"domain": "rack"}),
        events.LogRebased("cell1", 7),
    ):
        line = event_text.as_line("cell1", 1, 0, voice.say(said))
        assert said.schema.__name__ in line and line.isprintable()


# --- several logs ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    """cell1 has records at 1, 3, 5, 7, 9 seconds and cell2 at 2, 4, 6, 8, 10."""
    one, other = Told(tmp_path / "one.db"), Told(tmp_path / "two.db", "cell2", uuid_of("other epoch"))
    for number in range(1, 11):
        (one if number % 2 else other).say(number, claim(f"vm-{number}", f"host-{number}"))
    yield one, other
    one.log.close()
    other.log.close()


def test_logs_are_merged_by_time(two, capsys):
    named = ("--log", two[0].name, "--log", two[1].name, "--type", "ClaimProposed", "--template", "{host}")
    hosts = [f"host-{number}" for number in range(1, 11)]
    assert lines(capsys, *named) == hosts
    assert lines(capsys, *named, "-n", "3") == hosts[-3:]
    assert lines(capsys, *named, "--cell", "cell2") == hosts[1::2]
    assert lines(capsys, *named, "--exclude", "cell=cell2") == hosts[::2]
    assert lines(capsys, *named, "cell2:1:2") == ["host-2", "host-4"]
    assert lines(capsys, *named, "--since", "2023-11-14T22:13:28Z") == hosts[-3:]


def test_a_position_of_which_log(two, capsys):
    assert replay(["tail", "--log", two[0].name, "--log", two[1].name, "1:2"]) == 2
    assert "write it as CELL:POSITION" in capsys.readouterr().err


def test_a_clock_that_goes_back_changes_no_order(tmp_path, capsys):
    told, other = Told(tmp_path / "log.db"), Told(tmp_path / "other.db", "cell2")
    for number, second in enumerate((5, 9, 2, 7)):
        told.say(second, claim(f"vm-{number}", f"host-{number}"))
    other.say(6, claim("vm", "other"))
    assert lines(
        capsys, "--log", told.name, "--log", other.name, "--type", "ClaimProposed", "--template", "{host}"
    ) == ["host-0", "other", "host-1", "host-2", "host-3"]


# --- logs that are not whole ----------------------------------------------------------------------------------------


def test_a_beginning_that_was_removed(told, capsys):
    told.log.truncate_before(8)
    assert places(capsys, "--log", told.name) == [*both(8, 9), (10, 0)]
    assert places(capsys, "--log", told.name, "2:8", code=4) == both(8)


def test_an_empty_log(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/empty.db"
    open_log(url).close()
    assert lines(capsys, "--log", f"cell1={url}") == []
    assert lines(capsys, "--log", f"cell1={url}", "-n", "5", "-o", "json") == ["[]"]


# --- the cursor -----------------------------------------------------------------------------------------------------


def test_the_cursor_resumes_without_loss_or_duplicate(told, tmp_path, capsys):
    kept = ("--log", told.name, "--cursor-file", str(tmp_path / "cursor"))
    assert places(capsys, *kept, ":4") == [(0, 0), *both(1, 2, 3, 4)]
    assert places(capsys, *kept) == [*both(5, 6, 7, 8, 9), (10, 0)]
    assert places(capsys, *kept) == []
    told.say(11, claim("vm-11", "host-11"))
    assert places(capsys, *kept, "--host", "nobody") == []
    assert places(capsys, *kept) == []
    told.say(12, claim("vm-12", "host-12"))
    assert places(capsys, *kept) == [(12, 0)]
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".cursor")]


def test_a_cursor_within_a_record(told, tmp_path, capsys):
    path = tmp_path / "cursor"
    path.write_text(json.dumps({"format": 1, "cells": {"cell1": {"epoch": EPOCH, "position": 9, "index": 1}}}))
    assert places(capsys, "--log", told.name, "--cursor-file", str(path)) == [(9, 1), (10, 0)]


@pytest.mark.parametrize(
    "place, says",
    [
        ({"epoch": uuid_of("another"), "position": 3, "index": 0}, "it was recreated"),
        ({"epoch": EPOCH, "position": 3, "index": 0}, "the records between were removed"),
        ({"epoch": EPOCH, "position": 30, "index": 0}, "it lost records"),
    ],
)
def test_a_cursor_of_another_log(told, tmp_path, capsys, place, says):
    told.log.truncate_before(5)
    path = tmp_path / "cursor"
    path.write_text(json.dumps({"format": 1, "cells": {"cell1": place}}))
    assert replay(["tail", "--log", told.name, "--cursor-file", str(path)]) == 4
    said = capsys.readouterr()
    assert says in said.err and not said.out
    assert json.loads(path.read_text())["cells"]["cell1"] == place


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2, "cells": {}}', '{"format": 1, "cells": {"a": 7}}', "\x00"]
)
def test_a_file_that_is_no_cursor(told, tmp_path, capsys, text):
    (tmp_path / "cursor").write_text(text)
    assert replay(["tail", "--log", told.name, "--cursor-file", str(tmp_path / "cursor")]) == 2
    assert "is not a cursor file of this version" in capsys.readouterr().err


def test_a_cursor_that_cannot_be_written(told, capsys):
    assert replay(["tail", "--log", told.name, "--cursor-file", "/proc/nothing/cursor"]) == 3
    assert "cannot be written" in capsys.readouterr().err


# --- following ------------------------------------------------------------------------------------------------------


class Following:
    """A tail that follows, in a process of its own; ``lines`` are what it has shown."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "from nova_sched.cli.main import replay; raise SystemExit(replay())",
                "tail",
                "-f",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def shown(self, count):
        wait_until(lambda: len(self.lines) >= count or self.process.poll() is not None, 60, "nothing is shown")
        return self.lines[:]

    def end(self, by=signal.SIGINT):
        """(exit code, stderr) after a signal."""
        self.process.send_signal(by)
        code = self.process.wait(60)
        self._thread.join(60)
        return code, self.process.stderr.read()


def test_following_shows_the_last_and_what_comes(two, tmp_path):
    kept = str(tmp_path / "cursor")
    tail = Following(
        "--log", two[0].name, "--log", two[1].name, "-n", "2", "--template", "{host}", "--cursor-file", kept
    )
    assert tail.shown(2) == ["host-9", "host-10"]
    two[1].say(20, claim("vm-20", "host-20"))
    assert tail.shown(3)[2:] == ["host-20"]
    two[0].say(11, claim("vm-11", "host-11"))
    assert tail.shown(4)[3:] == ["host-11"]
    assert tail.end() == (0, "")
    two[0].say(12, claim("vm-12", "host-12"))
    again = Following("--log", two[0].name, "--log", two[1].name, "--template", "{host}", "--cursor-file", kept)
    assert again.shown(1) == ["host-12"]
    assert again.end(signal.SIGTERM) == (0, "")
    assert again.lines == ["host-12"]


def test_following_learns_what_belongs_to_a_request(told):
    tail = Following("--log", told.name, "--template", "{type}", "--request", "req-vm-new", "--request", "req-vm-1")
    assert tail.shown(2) == ["ClaimProposed", "ClaimReleased"]
    told.say(20, claim("vm-new", "host-1"), claim("another", "host-1"))
    assert tail.shown(3)[2:] == ["ClaimProposed"]
    told.say(21, started("vm-new", "host-1"), started("vm-1", "host-1"), by="compute_agent/host-1")
    assert tail.shown(5)[3:] == ["InstanceStarted"] * 2
    assert tail.end() == (0, "")


def test_a_log_that_is_replaced_while_it_is_followed(told, tmp_path):
    tail = Following("--log", told.name, "-n", "1", "--template", "{position}")
    assert tail.shown(1) == ["10"]
    told.say(20, claim("vm-new", "host-1"))
    assert tail.shown(2) == ["10", "11"], "it follows by now"
    (tmp_path / "log.db").rename(tmp_path / "elsewhere.db")
    assert tail.process.wait(60) == 4
    assert "removed or replaced" in tail.process.stderr.read()


def test_a_broken_pipe_is_quiet(told):
    read, write = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from nova_sched.cli.main import replay; raise SystemExit(replay())",
            "tail",
            "-f",
            "--log",
            told.name,
        ],
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    assert os.read(read, 10)
    os.close(read)
    told.say(20, claim("vm-new", "host-1"))
    # The code that a shell reports for a process that SIGPIPE ended.
    assert process.wait(60) == 141 and process.stderr.read() == b""


# --- a played cloud -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    out = tmp_path_factory.mktemp("played")
    assert main(["play", "--generate", "8,30", "--cells", "2", "--fail", "0.2", "--no-picture", "--out", str(out)]) == 0
    return out


def test_the_whole_life_of_an_instance(played, capsys):
    text = (played / "placements.csv").read_text()
    instance = next(line.split(",")[1] for line in text.splitlines() if ",built" in line)
    of_instance = lines(capsys, "--log", str(played), "--instance", instance, "--template", "{type} {cell} {position}")
    assert {"ClaimProposed", "DecisionMade", "InstanceStarted"} <= {line.split()[0] for line in of_instance}
    assert (
        lines(capsys, "--log", str(played), "--request", f"req-{instance}", "--template", "{type} {cell} {position}")
        == of_instance
    )
    whole = lines(capsys, "--log", str(played))
    assert [line for line in whole if instance in line] == lines(capsys, "--log", str(played), "-g", instance)
    assert len([line for line in whole if re.search(" LogOpened ", line)]) == 3


def test_the_log_may_be_named_before_the_command(played, capsys, monkeypatch):
    assert replay(["--log", str(played), "tail", "--type", "LogOpened"]) == 0
    assert main(["replay", "--log", str(played), "tail", "--type", "LogOpened"]) == 0
    monkeypatch.setenv("NOVA_SCHED_LOG", str(played))
    assert replay(["tail", "--type", "LogOpened"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 9 and said[:3] == said[3:6] == said[6:]


def test_the_format_of_the_cursor_is_known():
    assert cursor.FORMAT == 1
