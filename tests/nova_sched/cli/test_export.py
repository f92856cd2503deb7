"""export and import by command line: a played cloud goes through a file, and every decision comes out the same."""

import re

import pytest

from nova_sched.cli.main import replay
from nova_sched.replay.archive.frames import Header, Range, Writer
from nova_sched.replay.logs.reading import records_between
from nova_sched.replay.logs.source import Source
from nova_sched.replay.state.history import History
from rpc_api import codec, events
from rpc_api.log import Record, open_log
from tests.builders import EPOCH, Voice, record_of


@pytest.fixture(scope="module")
def files(played):
    """(Redacted file, file as it is)."""
    found = str(played / "hidden.nslog"), str(played / "open.nslog")
    assert replay(["--log", str(played), "export", "-o", found[0]]) == 0
    assert replay(["--log", str(played), "export", "-o", found[1], "--no-redact"]) == 0
    return found


def payloads(*names):
    with Source(names) as source:
        return {cell: [tuple(record)[:2] for record in records_between(log)] for cell, log in source.logs.items()}


def test_redacted_or_not_is_said(played, capsys):
    assert replay(["--log", str(played), "export", "-o", str(played / "said.nslog")]) == 0
    said = capsys.readouterr().out
    assert "events in" in said and "cell1 0:" in said and "redacted: ids of projects" in said
    assert replay(["--log", str(played), "export", "-o", str(played / "said.nslog")]) == 2
    assert "exists already" in capsys.readouterr().err
    assert replay(["--log", str(played), "export", "-o", str(played / "said.nslog"), "--force", "--no-redact"]) == 0
    assert "not redacted" in capsys.readouterr().out


def test_every_decision_is_made_the_same_on_a_redacted_file(files, capsys):
    assert replay(["--log", files[0], "replay", "--verify"]) == 0
    assert int(re.search(r"(\d+) decisions made again, 0 different", capsys.readouterr().out)[1]) >= 80


def test_a_file_without_redaction_holds_the_very_records(played, files):
    assert payloads(files[1]) == payloads(str(played)) != payloads(files[0])
    projects = {
        name: {
            event.data.project_id
            for records in payloads(name).values()
            for _, payload in records
            for event in codec.decode_record(payload).events
            if event.name == "ClaimProposed"
        }
        for name in files
    }
    assert projects[files[1]] == {"play"} and len(projects[files[0]]) == 1 and "play" not in projects[files[0]]


def test_states_of_both_are_of_the_same_hosts(played, files):
    found = []
    for name in (str(played), *files):
        with Source([name]) as source:
            world = History(source.logs).world_at({cell: log.bounds().last for cell, log in source.logs.items()})
            found.append(
                {
                    host.name: (host.rows.keys(), host.entries.keys(), host.lost, host.status.disabled)
                    for projection in world.projections.values()
                    for host in projection.hosts.values()
                }
            )
    assert found[0] == found[1] == found[2] and len(found[0]) == 16


def test_the_commands_read_a_file_as_they_read_logs(played, files, capsys):
    texts = []
    for name in (str(played), files[1]):
        assert replay(["--log", name, "tail"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and len(texts[0].splitlines()) > 200
    assert replay(["--log", files[0], "quarantine"]) == 0
    assert replay(["--log", files[0], "check"]) == 0


def test_import_gives_the_same_logs(files, tmp_path, capsys):
    assert replay(["--log", files[1], "import", "--to", f"sqlite:///{tmp_path}/{{cell}}.db"]) == 0
    assert "cell1: " in capsys.readouterr().out
    named = [f"{cell}=sqlite:///{tmp_path}/{cell}.db" for cell in ("cell0", "cell1", "cell2")]
    assert payloads(*named) == payloads(files[1])
    assert replay(["--log", files[1], "import", "--to", f"sqlite:///{tmp_path}/{{cell}}.db"]) == 2
    assert "has records already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "to, options, says",
    [
        ("sqlite:///{tmp}/one.db", (), "the file contains cell0, cell1, cell2"),
        ("sqlite:///{tmp}/one.db", ("--cell", "cell9"), "no log of 'cell9'"),
        ("ftp://x", ("--cell", "cell1"), "the scheme is 'ftp'"),
    ],
)
def test_wrong_imports(files, tmp_path, capsys, to, options, says):
    assert replay(["--log", files[0], "import", "--to", to.replace("{tmp}", str(tmp_path)), *options]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("cell", ["../outside", "a\0b", "\x1b]0;pwned\x07", "."])
def test_names_of_cells_in_a_file_reach_neither_the_disk_nor_the_terminal(tmp_path, capsys, cell):
    path, url = str(tmp_path / "file"), f"sqlite:///{tmp_path}/logs/{{cell}}.db"
    (tmp_path / "logs").mkdir()
    opened = codec.make_event(events.LogOpened(cell, EPOCH), "operator/x", 1, 1, 1)
    with open(path, "wb") as file:
        writer = Writer(file, Header(False, 1, "test", (Range(cell, EPOCH, 0, 0),)))
        writer.add(cell, Record(0, codec.encode_record(EPOCH, [opened]), None), 1, 1)
        writer.end()
    assert replay(["--log", path, "import", "--to", url]) == 2
    assert "cannot be part of a URL" in capsys.readouterr().err
    for command, code in (
        (["diff", "first", "last"], 0),
        (["tail", "cell9:1:2"], 2),
        (["export", "-o", f"{path}.2"], 0),
        (["state"], 0),
        (["import", "--cell", cell, "--to", f"sqlite:///{tmp_path}/logs/one.db"], 0),
    ):
        assert replay(["--log", path, *command]) == code
        said = capsys.readouterr()
        assert (said.out + said.err).replace("\n", "").isprintable()
    assert sorted(one.name for one in (tmp_path / "logs").iterdir() if one.suffix == ".db") == ["one.db"]
    assert not (tmp_path / "outside.db").exists()


def test_a_log_is_not_imported(played, tmp_path, capsys):
    assert replay(["--log", str(played), "import", "--to", f"sqlite:///{tmp_path}/{{cell}}.db"]) == 2
    assert "is not an exported file" in capsys.readouterr().err


def test_a_damaged_file_is_not_imported_and_shown_as_far_as_it_goes(files, tmp_path, capsys):
    with open(files[1], "rb") as file:
        data = file.read()
    cut = tmp_path / "cut.nslog"
    cut.write_bytes(data[:-200])
    assert replay(["--log", str(cut), "import", "--to", f"sqlite:///{tmp_path}/{{cell}}.db"]) == 4
    assert "has no index, or a damaged one" in capsys.readouterr().err and not (tmp_path / "cell1.db").exists()
    assert replay(["--log", files[1], "tail", "-o", "raw"]) == 0
    whole = capsys.readouterr().out
    assert replay(["--log", str(cut), "tail", "-o", "raw"]) == 4
    said = capsys.readouterr()
    assert said.out == whole and "has no index, or a damaged one" in said.err
    tampered = bytearray(data)
    tampered[len(data) // 2] ^= 1
    cut.write_bytes(tampered)
    assert replay(["--log", str(cut), "tail", "-o", "raw"]) == 4
    said = capsys.readouterr()
    assert "are damaged" in said.err and 0 < len(said.out.splitlines()) < len(whole.splitlines())
    assert replay(["--log", str(cut), "import", "--to", f"sqlite:///{tmp_path}/{{cell}}.db"]) == 4
    cut.write_bytes(data[:8] + b"\0\x09" + data[10:])
    assert replay(["--log", str(cut), "tail"]) == 5
    assert "export of format 9" in capsys.readouterr().err


def test_a_range_of_one_cell(played, tmp_path, capsys):
    out = str(tmp_path / "part.nslog")
    assert replay(["--log", str(played), "export", "cell1:10:19", "-o", out]) == 0
    with Source([out]) as source:
        assert {cell: tuple(log.bounds()) for cell, log in source.logs.items()} == {"cell1": (10, 19)}
        hosts = History(source.logs).world_at({"cell1": 15}).projections["cell1"].hosts
    assert len(hosts) == 8
    assert replay(["--log", str(played), "export", "cell1:10:9999", "-o", out, "--force"]) == 4
    assert "ends at position" in capsys.readouterr().err


def test_a_log_that_wants_accounts_is_not_imported(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/log.db"
    voice = Voice("conductor/c")
    with open_log(url) as log:
        log.append(
            [
                record_of(voice.say(events.LogOpened("cell1", EPOCH))),
                record_of(voice.say(events.AccountsRequired(True))),
            ]
        )
    out = str(tmp_path / "file")
    assert replay(["--log", url, "export", "-o", out]) == 0
    assert replay(["--log", out, "import", "--to", f"sqlite:///{tmp_path}/again.db"]) == 2
    assert "requires accounts from position 1 on" in capsys.readouterr().err


def test_an_export_that_cannot_be_written(played, capsys):
    assert replay(["--log", str(played), "export", "-o", "/proc/nothing/file"]) == 3
    assert "cannot be written" in capsys.readouterr().err


def test_an_export_that_was_interrupted_leaves_nothing(played, tmp_path, monkeypatch):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("nova_sched.replay.archive.frames.Writer.end", interrupted)
    assert replay(["--log", str(played), "export", "-o", str(tmp_path / "file")]) == 130
    assert not list(tmp_path.iterdir())


@pytest.mark.rabbit
def test_import_into_rabbitmq(files, rabbit_server, vhost, capsys):
    to = rabbit_server.url("STREAM", vhost).replace("STREAM", "{cell}")
    assert replay(["--log", files[1], "import", "--to", to]) == 0
    assert capsys.readouterr().out.count("records, positions 0 to") == 3
    assert payloads(*(f"{cell}={to.replace('{cell}', cell)}" for cell in ("cell0", "cell1", "cell2"))) == payloads(
        files[1]
    )
