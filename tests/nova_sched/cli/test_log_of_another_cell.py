"""A command that writes refuses the log of another cell, and writes nothing there."""

import pytest

from nova_sched.cli.main import main
from rpc_api import events
from rpc_api.log import open_log
from tests.builders import report, uuid_of
from tests.nova_sched.cli.operated import Cloud


@pytest.fixture
def cloud(tmp_path, capsys):
    """A host of an agent, a lost one, and a configuration in which each log has the name of another cell."""
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("a"))
    cloud.say(report("gone"))
    cloud.say(events.HostLost("gone", "no heartbeat for 61 s"))
    return cloud


#: The words of a command; ``{url}`` is the log of cell1.
WRITES = {
    "aggregate create": ["aggregate", "create", "bad", "--log", "cell0={url}"],
    "host disable": ["host", "disable", "a", "--log", "cell9={url}"],
    "host remove": ["host", "remove", "gone", "--log", "cell9={url}"],
    "authority, shown": ["authority", "cell9", "{url}"],
    "authority": ["authority", "cell9", "{url}", "a", "--pass-to", "nova"],
    "create-log": ["create-log", "cell9", "{url}"],
    "trim": ["trim", "cell9", "{url}", "--keep", "1"],
    "rebase": ["rebase", "cell9", "{url}"],
    "pin": ["pin", "--config-file", "{conf}"],
    "backup": ["backup", "cell9", "{url}", "-o", "{conf}.nslog"],
}


@pytest.mark.parametrize("words", WRITES.values(), ids=WRITES)
def test_the_log_of_another_cell_is_refused(cloud, tmp_path, capsys, words):
    url, conf = cloud.urls["cell1"], tmp_path / "nova_sched.conf"
    conf.write_text(
        f"[DEFAULT]\ntransport_url = fake://\n[cells]\nenabled = cell9\ncell0_log = {cloud.urls['cell0']}\n"
        f"[cell:cell9]\nlog = {url}\nuuid = {uuid_of('cell9')}\n"
    )
    with open_log(url) as log:
        before = log.bounds()
    code = main([word.format(url=url, conf=conf) for word in words])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "") and "is the log of cell1, wanted that of cell" in err
    with open_log(url) as log:
        assert log.bounds() == before


def test_the_authority_in_a_log_without_hosts(cloud, capsys):
    assert main(["authority", "cell0", cloud.urls["cell0"]]) == 0
    assert capsys.readouterr() == ("", "no host reports in the log of cell0\n")
