"""Worker processes of the API, as an operator starts them, and clients that keep their connection."""

import http.client
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

from tests.placement_api.client import HEADERS
from tests.servers import ServerFailed, free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60


class Worker:
    """One ``nova-sched-placement`` on a port of its own; workers of one directory share it as their state_dir."""

    def __init__(self, directory: Path, logs: dict[str, str], name: str = "test"):
        self.port = free_port()
        self._config = directory / f"placement-{self.port}.conf"
        cells = "".join(f"[cell:{cell}]\nuuid = {uuid.uuid4()}\nlog = {url}\n" for cell, url in logs.items())
        self._config.write_text(
            f"[cells]\nenabled = {','.join(logs)}\n{cells}[placement_api]\nname = {name}\nauth_strategy = noauth2\n"
            f"bind_host = 127.0.0.1\nbind_port = {self.port}\nother_machines = false\nstate_dir = {directory}/shared\n"
        )
        self._console = directory / f"placement-{self.port}.log"
        self._process = None

    def start(self) -> "Worker":
        """Start it; :meth:`wait_ready` waits until it answers."""
        with open(self._console, "ab") as console:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "placement_api.main", "--config-file", str(self._config)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=console,
                stderr=console,
            )
        return self

    def wait_ready(self) -> "Worker":
        """Wait until it answers."""
        wait_until(self._answers, READY_SECONDS, "the worker does not answer")
        return self

    def _answers(self) -> bool:
        if self._process.poll() is not None:
            raise ServerFailed(f"the worker ended with {self._process.returncode}: {self.console()[-2000:]}")
        try:
            return Connection(self).ask("GET", "/")[0] == 200
        except OSError:
            return False

    def console(self) -> str:
        """What it wrote."""
        return self._console.read_text()

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """End it in good order; returns its exit code."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(READY_SECONDS)

    def close(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


class Connection:
    """A client with one connection to a worker. Errors of the connection are OSError."""

    def __init__(self, worker: Worker):
        self._made = http.client.HTTPConnection("127.0.0.1", worker.port, timeout=60)

    def ask(self, method, path, body=None):
        """(Status, body) of the answer."""
        data = None if body is None else json.dumps(body)
        headers = {**HEADERS, **({} if body is None else {"Content-Type": "application/json"})}
        try:
            self._made.request(method, path, data, headers)
            answer = self._made.getresponse()
            found = answer.read()
        except (OSError, http.client.HTTPException) as fault:
            self._made.close()
            raise OSError(str(fault)) from None
        return answer.status, json.loads(found) if found else None
