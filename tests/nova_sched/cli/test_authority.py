"""``nova-sched authority``: shows and passes it, and refuses what makes no sense."""

import pytest

from nova_sched.cli.main import main
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import EPOCH, Voice, report


@pytest.fixture
def url(tmp_path):
    """A log at the newest level with two hosts of agents."""
    url = f"sqlite:///{tmp_path}/log.db"
    with open_log(url) as log:
        said = [
            (Voice("operator/a").say(events.LogOpened("cell1", EPOCH)), 1),
            (Voice("operator/b").say(events.LevelPinned(LEVEL)), 1),
            *((Voice(f"compute_agent/{name}").say(report(name)), LEVEL) for name in ("one", "two")),
        ]
        log.append([codec.encode_record(EPOCH, [event], level) for event, level in said])
    return url


def shown(capsys, *words):
    code = main(["authority", *words])
    out, err = capsys.readouterr()
    return code, out.split(), err


def test_it_is_shown_and_passed_and_passed_back(url, capsys):
    assert shown(capsys, "cell1", url) == (0, ["one", "agent", "two", "agent"], "")
    assert shown(capsys, "cell1", url, "one", "--pass-to", "nova")[0] == 0
    assert shown(capsys, "cell1", url) == (0, ["one", "nova", "two", "agent"], "")
    assert shown(capsys, "cell1", url, "two") == (0, ["two", "agent"], "")
    code, out, _ = shown(capsys, "cell1", url, "one", "two", "--pass-to", "agent")
    assert code == 0 and out[:2] == ["2", "hosts"]
    assert shown(capsys, "cell1", url)[1] == ["one", "agent", "two", "agent"]


def test_wrong_usage(url, capsys):
    for words, told in (
        ((url, "three"), "three does not report"),
        ((url, "--pass-to", "nova"), "name the hosts"),
        ((url + ".none",), "log"),
    ):
        code, _, err = shown(capsys, "cell1", *words)
        assert code in (2, 3) and told in err and "Traceback" not in err


def test_a_log_below_level_3(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/old.db"
    with open_log(url) as log:
        said = [
            Voice("operator/a").say(events.LogOpened("cell1", EPOCH)),
            Voice("compute_agent/one").say(report("one")),
        ]
        log.append([codec.encode_record(EPOCH, [event]) for event in said])
    code, _, err = shown(capsys, "cell1", url, "one", "--pass-to", "nova")
    assert code == 2 and "needs level 3" in err
