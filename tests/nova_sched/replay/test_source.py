"""What --log may name."""

import json

import pytest

from nova_sched.replay.logs.source import Source
from rpc_api import codec, errors, events
from rpc_api.log import open_log
from tests.builders import EPOCH, Voice


@pytest.fixture
def urls(tmp_path):
    """Cell -> URL of two logs that say of which cell they are."""
    urls = {cell: f"sqlite:///{tmp_path}/log.{cell}.db" for cell in ("cell0", "cell1")}
    for cell, url in urls.items():
        with open_log(url) as log:
            log.append([codec.encode_record(EPOCH, [Voice("conductor/c").say(events.LogOpened(cell, EPOCH))])])
    return urls


def cells_of(*names):
    with Source(names) as source:
        return {cell: log.bounds().count for cell, log in source.logs.items()}


def test_a_log_says_of_which_cell_it_is(urls):
    assert cells_of(urls["cell1"]) == {"cell1": 1}
    assert cells_of(*urls.values()) == {"cell0": 1, "cell1": 1}
    assert cells_of(f"east={urls['cell1']}") == {"east": 1}


def test_a_file_of_sqlite_is_a_log(urls, tmp_path):
    assert cells_of(str(tmp_path / "log.cell1.db")) == {"cell1": 1}
    assert cells_of(f"west={tmp_path / 'log.cell1.db'}") == {"west": 1}


def test_the_directory_of_a_play_names_its_logs_wherever_it_was_moved(urls, tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"logs": urls}))
    assert cells_of(str(tmp_path)) == {"cell0": 1, "cell1": 1}
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert cells_of(str(moved)) == {"cell0": 1, "cell1": 1}


@pytest.mark.parametrize(
    "name, words",
    [
        (
            "nowhere",
            "'nowhere' is not the URL of a log, and cannot be read as a file .* wanted CELL=URL, URL, a file of",
        ),
        ("{dir}", "has no summary.json of a play"),
        ("{dir}/text", "is neither an exported log nor an SQLite log"),
        (
            "{dir}/broker",
            r"are on a broker, and its password is not kept there; "
            r"name them as --log cell1=rabbit://u:\*\*\*@h/",
        ),
        ("ftp://x", "the scheme is 'ftp'"),
        ("cell1=ftp://x", "the scheme is 'ftp'"),
        ("cell1=sqlite:///a.db cell2=sqlite:///b.db", "one --log names several logs"),
    ],
)
def test_what_names_no_log(name, words, tmp_path):
    (tmp_path / "text").write_text("text")
    (tmp_path / "broker").mkdir()
    (tmp_path / "broker" / "summary.json").write_text('{"logs": {"cell1": "rabbit://u:***@h/"}}')
    with pytest.raises(errors.UsageError, match=words):
        Source([name.format(dir=tmp_path)])


def test_a_cell_is_named_once(urls):
    with pytest.raises(errors.UsageError, match="the log of cell1 is named twice"):
        Source([urls["cell1"], f"cell1={urls['cell0']}"])


def test_an_empty_log_does_not_say_of_which_cell_it_is(tmp_path):
    url = f"sqlite:///{tmp_path}/empty.db"
    open_log(url).close()
    with pytest.raises(
        errors.UsageError, match="does not contain the name of its cell, it is empty; name it as CELL=sqlite"
    ):
        Source([url])
    assert cells_of(f"cell1={url}") == {"cell1": 0}


def test_a_log_that_is_not_there(urls, tmp_path):
    gone = f"cell2=sqlite:///{tmp_path}/gone.db"
    with pytest.raises(errors.LogUnavailable, match="there is no file"):
        Source([urls["cell1"], gone])
    with Source([urls["cell1"], gone], tolerant=True) as source:
        assert list(source.logs) == ["cell1"] and "there is no file" in str(source.down["cell2"])


def test_the_only_cell_needs_no_name(urls):
    with Source(urls.values()) as source:
        assert source.one(None, "the position 5")[0] == "cell1"
        with pytest.raises(errors.UsageError, match="there is no log of 'cell9' among cell0, cell1"):
            source.one("cell9", "it")
    with Source([*urls.values(), f"cell2={urls['cell1']}"]) as source:
        with pytest.raises(
            errors.UsageError, match="the position 5 needs the name of a cell, as there are cell0, cell1, cell2"
        ):
            source.one(None, "the position 5")
