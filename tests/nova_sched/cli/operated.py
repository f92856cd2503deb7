"""A log that operators change, and the commands that do so."""

import json

from nova_sched.cli.main import main
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import EPOCH, Voice, created, facts_of, inventory_of, put_inventories, speaker_of


class Cloud:
    """A cell and cell0 in SQLite files, at the newest level or at level 1; ``run`` gives (exit code, output, errors) of
    a command of nova-sched on them."""

    def __init__(self, folder, capsys, level=LEVEL):
        self._capsys = capsys
        self._voices = {}
        self.urls = {cell: f"sqlite:///{folder}/{cell}.db" for cell in ("cell0", "cell1")}
        self.level = level
        for cell, url in self.urls.items():
            with open_log(url) as log:
                said = [Voice("operator/opener").say(events.LogOpened(cell, EPOCH))]
                log.append([codec.encode_record(EPOCH, said)])
                if level > 1:
                    pin = Voice("operator/pin").say(events.LevelPinned(level))
                    log.append([codec.encode_record(EPOCH, [pin])])

    def say(self, *batch, cell="cell1", by=None):
        """Append a record of some events."""
        made = [
            self._voices.setdefault((cell, name), Voice(name)).say(data)
            for data in batch
            for name in [by or speaker_of(data)]
        ]
        with open_log(self.urls[cell]) as log:
            log.append([codec.encode_record(EPOCH, made, self.level)])

    def nova_host(self, name):
        """Add a host of Nova."""
        self.say(created(name))
        self.say(put_inventories(name, inventory_of("VCPU", 8), inventory_of("MEMORY_MB", 16384)))
        self.say(facts_of(name, authority="nova"), by="conductor/tap")

    def run(self, *words, logs=("cell0", "cell1")):
        """Run a command of nova-sched."""
        named = [word for cell in logs for word in ("--log", f"{cell}={self.urls[cell]}")]
        code = main([*words, "--no-cache", *named])
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err, err
        return code, out, err

    def rows(self, *words):
        """What a command prints as JSON."""
        code, out, err = self.run(*words, "-o", "json")
        assert code in (0, 1), err
        return json.loads(out)

    def host(self, name):
        """The row of a host in host list."""
        return next(row for row in self.rows("host", "list") if row["host"] == name)
