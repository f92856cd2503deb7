"""The logs of a TinyCloud as the replay tool reads them, and the tool's commands in this process."""

import contextlib
import itertools
import json

from nova_sched.cli.main import replay
from nova_sched.replay.logs.source import Source
from rpc_api.log import open_log
from tests.engines import TinyCloud

_NUMBERS = itertools.count()


class Logs:
    """The logs of a TinyCloud in memory, with ways to ask the tool about them."""

    def __init__(self, cloud: TinyCloud, without=()):
        number = next(_NUMBERS)
        self.urls = {cell: f"memory://tiny-{number}-{cell}" for cell in cloud.logs if cell not in without}
        self._stack = contextlib.ExitStack()
        for cell, url in self.urls.items():
            log = self._stack.enter_context(open_log(url))
            self._stack.callback(log.delete)
            if cloud.logs[cell]:
                log.append(cloud.logs[cell])

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._stack.close()

    @property
    def names(self):
        """The values of the options ``--log``."""
        return [f"{cell}={url}" for cell, url in self.urls.items()]

    def source(self):
        """The Source of these logs."""
        return Source(self.names)

    def run(self, *command):
        """Run a command of the tool; returns its exit code."""
        return replay([*(word for name in self.names for word in ("--log", name)), "--no-cache", *command])

    def json(self, capsys, *command):
        """(exit code, the JSON that the command prints)."""
        code = self.run(*command, "-o", "json")
        return code, json.loads(capsys.readouterr().out)


def deciding(cloud: TinyCloud, name="one"):
    """A new engine of a cloud, which has recorded its policy."""
    engine = cloud.engine(name)
    engine.publish_policy()
    cloud.settle()
    return engine
