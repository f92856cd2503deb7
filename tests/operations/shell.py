"""A shell in which an operator types the commands of a runbook, beside a cloud of real processes.

The commands of nova_sched, of RabbitMQ, curl, grep and so on are run. No systemd runs here, so ``systemctl`` and
``journalctl`` are carried out on the processes of the units, and only for units that are in etc/systemd.
"""

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

from nova_sched.cli import main as cli
from nova_sched.cli import status
from tests.end_to_end.processes import ROOT

BROKER = "rabbitmq-server"
COMMANDS = {"nova-sched": cli.main, "nova-sched-replay": cli.replay, "nova-sched-status": status.main}
OF_RABBIT = ("rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-streams")
COMMAND_SECONDS_MAX = 120.0


class Done(NamedTuple):
    """How a command ended, and what it printed."""

    code: int
    text: str


def unit_file(unit: str) -> str:
    """The file of a unit in etc/systemd."""
    name, at, _ = unit.partition("@")
    return f"{name}{at}.service"


class Shell:
    """``cloud`` starts and stops processes by their names, ``config`` is the configuration of its services, ``words``
    are the words in capitals of the pages -> what is typed for them, ``units`` is unit -> its processes, and
    ``addresses`` is port in the pages -> port here.
    """

    def __init__(self, cloud, config: Path, server, words: dict[str, str], units, addresses: dict[int, int]):
        self.cloud, self.server, self._units, self._addresses = cloud, server, units, addresses
        self.home = config.parent / "home"
        own = self.home / ".nova_sched" / "nova_sched.conf"
        own.parent.mkdir(parents=True, exist_ok=True)
        own.write_text(config.read_text())
        self.words = {"/etc/nova_sched/nova_sched.conf": str(own), **words}
        #: What processes of a unit that were started again had logged.
        self._journals: dict[str, str] = {}

    def run(self, command: str) -> Done:
        """Run a line: programs with pipes between them, and $(...)."""
        command = re.sub(r"\$\((.*?)\)", lambda found: self.run(found[1]).text.strip(), command)
        done = Done(0, "")
        for stage in re.split(r" \| ", self.typed(command)):
            done = self._stage(stage, done.text)
        return done

    def typed(self, text: str) -> str:
        """A line of a page with what is typed for its words in capitals."""
        text = re.sub(r"\bHOST:(\d+)", lambda found: f"127.0.0.1:{self._addresses[int(found[1])]}", text)
        for word, value in self.words.items():
            text = re.sub(rf"(?<![\w-]){re.escape(word)}(?![\w-])", lambda _, value=value: value, text)
        return text

    def _stage(self, stage, text):
        words = shlex.split(stage)
        program = words[0]
        if program in COMMANDS:
            return self._of_nova_sched(COMMANDS[program], words[1:])
        if program == "systemctl":
            return self._systemctl(words[1:])
        if program == "journalctl":
            return self._journalctl(words[1:])
        if program in OF_RABBIT:
            path = f"{self.server._scripts}/{program}"
            return self._process([path, "-n", self.server.node, *words[1:]], text, self.server._env)
        return self._process(["bash", "-c", stage], text, dict(os.environ))

    def _process(self, command, text, environment):
        done = subprocess.run(
            command,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if command[-1].startswith("curl") else subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            cwd=self.home,
            env=environment,
        )
        return Done(done.returncode, done.stdout)

    def _of_nova_sched(self, function, words):
        """Run a command in this process, with the configuration where a user's own is."""
        printed, before = io.StringIO(), dict(os.environ)
        os.environ |= {"HOME": str(self.home), "XDG_CACHE_HOME": str(self.home / "cache"), "COLUMNS": "200"}
        os.environ.pop("NOVA_SCHED_LOG", None)
        try:
            with contextlib.chdir(self.home), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                code = function(words)
        finally:
            os.environ.clear()
            os.environ.update(before)
        return Done(code, printed.getvalue())

    # --- systemd -----------------------------------------------------------------------------------------------------

    def _systemctl(self, words):
        verb, *words = words
        units = [word for word in words if not word.startswith("-") and word not in ("MainPID",)]
        done = Done(0, "")
        for unit in units:
            assert unit == BROKER or (ROOT / "etc" / "systemd" / unit_file(unit)).exists(), f"there is no unit {unit}"
            one = self._on_broker(verb) if unit == BROKER else self._on_unit(verb, unit)
            done = Done(max(done.code, one.code), done.text + one.text)
        return done

    def _on_broker(self, verb):
        assert verb in ("start", "restart")
        if not self.server.runs:
            self.server.start()
        return Done(0, "")

    def _on_unit(self, verb, unit):
        done = Done(0, "")
        for name in self._units[unit]:
            one = self._on_process(verb, unit, name)
            done = Done(max(done.code, one.code), done.text + one.text)
        return done

    def _on_process(self, verb, unit, name):
        process = self.cloud.running.get(name)
        runs = process is not None and process.process.poll() is None
        if verb in ("is-active", "status"):
            text = "active" if runs else "failed"
            more = f"● {unit}.service\n   Active: {text}\n" if verb == "status" else f"{text}\n"
            return Done(0 if runs else 3, more)
        if verb == "show":
            return Done(0, f"{process.process.pid}\n")
        if verb == "reload":
            process.send(signal.SIGHUP)
            return Done(0, "")
        if verb == "stop":
            if runs:
                self._journals[name] = self._journal(name)
                self.cloud.stop(name)
            return Done(0, "")
        assert verb in ("start", "restart"), verb
        if verb == "restart" or not runs:
            if process is not None:
                self._journals[name] = self._journal(name)
                if runs:
                    self.cloud.stop(name)
                else:
                    self.cloud.running.pop(name).__exit__(None, None, None)
            self.cloud.start(name)
        return Done(0, "")

    def _journal(self, name):
        process = self.cloud.running.get(name)
        return self._journals.get(name, "") + (process.stderr if process is not None else "")

    def _journalctl(self, words):
        unit = words[words.index("-u") + 1]
        assert (ROOT / "etc" / "systemd" / unit_file(unit)).exists(), f"there is no unit {unit}"
        lines = [line for name in self._units[unit] for line in self._journal(name).splitlines()]
        if "-n" in words:
            lines = lines[-int(words[words.index("-n") + 1]) :]
        return Done(0, "\n".join(lines) + "\n")
