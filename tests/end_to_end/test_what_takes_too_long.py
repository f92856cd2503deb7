"""Stores that hang and reloads that take too long: nothing piles up, and the service goes on."""

import logging
import threading

import pytest
from oslo_config import cfg

from nova_sched.process.process import Process
from nova_sched.process.service import Service
from nova_sched.process.snapshot_store import FileStore
from rpc_api import errors
from tests.end_to_end.test_recovery import SECONDS_MAX, Site
from tests.servers import wait_until


class Hanging(FileStore):
    """A directory of a file server that does not answer."""

    def __init__(self, directory):
        super().__init__(directory)
        self.answers = threading.Event()

    def save(self, cell, packed):
        assert self.answers.wait(SECONDS_MAX)
        super().save(cell, packed)


def waiting():
    return [thread for thread in threading.enumerate() if thread.name == "snapshot of cell1"]


def test_one_snapshot_at_a_time_waits_for_its_store(tmp_path, caplog):
    store = Hanging(str(tmp_path / "snapshots"))
    with Site(tmp_path, "memory", store) as site:
        conductor = site.conductor()
        for _ in range(3):
            conductor.keep_snapshot()
        assert len(waiting()) == 1
        assert caplog.text.count("the snapshot of cell1 is not kept, as the store has not answered") == 2
        store.answers.set()
        wait_until(lambda: not waiting(), SECONDS_MAX, "the store answers")
        assert store.load("cell1")
        conductor.keep_snapshot()
        wait_until(lambda: not waiting(), SECONDS_MAX, "it is not kept")
        assert caplog.text.count("the store has not answered") == 2


class Reloaded(Service):
    """Raises ``fault`` when it is reloaded."""

    def __init__(self, fault):
        self._fault = fault

    def reload(self):
        raise self._fault

    start = serves = drain = report = None


@pytest.mark.parametrize(
    "fault, told", [(TimeoutError(), "it took too long"), (errors.UsageError("it is wrong"), "it is wrong")]
)
def test_a_reload_that_fails_does_not_end_a_service(fault, told, caplog):
    caplog.set_level(logging.ERROR)
    conf = cfg.ConfigOpts()
    for one in (conf, cfg.CONF):
        one([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    process = Process("test", conf, Reloaded(fault))
    process._reload()
    assert f"the new configuration is not used: {told}" in caplog.text
