"""A stock Placement, what nova-api answers, and empty logs of ours."""

import contextlib
import logging
import os

import pytest

from nova_sched.cli.main import main
from nova_sched.replay.archive.restore import state_of
from rpc_api.log import open_log
from tests.nova_sched.migration.clouds import TOKEN, NovaAnswers, Stock, small, tapped
from tests.placement_api.regions import prepare


@pytest.fixture
def stock():
    with contextlib.closing(Stock()) as found:
        yield found


@pytest.fixture
def target():
    """Another stock Placement, empty."""
    with contextlib.closing(Stock()) as found:
        yield found


@pytest.fixture
def nova():
    with contextlib.closing(NovaAnswers()) as found:
        yield found


class Ours:
    """Logs of ours in a directory, and the commands over them."""

    def __init__(self, directory, capsys, stock, *cells):
        self.urls = {cell: f"sqlite:///{directory}/{cell}.db" for cell in cells}
        self._capsys, self.stock = capsys, stock
        for cell, url in self.urls.items():
            prepare(url, cell)

    def run(self, command, *words, stock=None):
        """(Exit code, stdout, stderr) of a command; without Nova unless its endpoint is among the words."""
        words = [command, *words, "--placement", (stock or self.stock).url]
        if command != "export" and "--nova" not in words:
            words.append("--placement-only")
        for cell, url in self.urls.items():
            words += ["--log", f"{cell}={url}"]
        code = main(words)
        found = self._capsys.readouterr()
        assert "Traceback" not in found.err
        return code, found.out, found.err

    def state(self, cell="cell1"):
        """The state of a log."""
        with open_log(self.urls[cell]) as log:
            return state_of(cell, log)


@pytest.fixture
def environment(monkeypatch, stock, tmp_path):
    """The variables of an openrc file, and a cache of the test's own."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    # The servers are in this process, and must not write to the stderr of the command.
    monkeypatch.setattr(logging.getLogger("placement_api.access"), "disabled", True)
    monkeypatch.setenv("OS_AUTH_TYPE", "admin_token")
    monkeypatch.setenv("OS_TOKEN", TOKEN)
    monkeypatch.setenv("OS_ENDPOINT", stock.url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return monkeypatch


@pytest.fixture
def ours(tmp_path, capsys, stock, environment):
    return Ours(tmp_path, capsys, stock, "cell0", "cell1")


@pytest.fixture
def two_cells(tmp_path, capsys, stock, environment):
    return Ours(tmp_path, capsys, stock, "cell0", "cell1", "cell2")


@pytest.fixture
def known(stock, nova, ours):
    """Both hosts are known by the tap, and the cloud is taken over."""
    small(stock)
    tapped(ours, "host-1", "host-2")
    code, out, err = ours.run("import", "--nova", nova.url)
    assert (code, err) == (0, ""), (out, err)
    return ours
