"""A Prometheus that scrapes the services of a test and evaluates the alerts, in a time that runs faster."""

import json
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest

from tests import promql
from tests.servers import free_port, wait_until

#: The windows and waits of the rules are shorter by this: ten minutes become 20 seconds.
FASTER = 30
UNITS = {"s": 1, "m": 60, "h": 3600}
START_SECONDS_MAX = 60.0


class Alert(NamedTuple):
    """A firing alert."""

    name: str
    labels: dict[str, str]
    summary: str


def rules_of_now() -> str:
    """The rules with all windows and waits shortened."""

    def shorter(found):
        return f"{found[1]}{max(1, int(found[2]) * UNITS[found[3]] // FASTER)}s{found[4]}"

    return re.sub(r"(\[|offset |for: )(\d+)([smh])(\]|\b)", shorter, promql.RULES.read_text())


class Prometheus:
    """A server; a context manager. ``targets`` is job -> ports. Without the program the test is skipped, and fails in
    CI."""

    def __init__(self, directory: Path, targets: dict[str, list[int]]):
        program = shutil.which("prometheus")
        if program is None:
            if os.environ.get("CI"):
                pytest.fail("prometheus is not installed; install the package prometheus", pytrace=False)
            pytest.skip("prometheus is not installed; install the package prometheus")
        self._program, self._port = program, free_port()
        self._directory = directory
        directory.mkdir()
        (directory / "rules.yaml").write_text(rules_of_now())
        jobs = "".join(
            f"- job_name: {job}\n  static_configs:\n  - targets: [{', '.join(f'127.0.0.1:{port}' for port in ports)}]\n"
            for job, ports in targets.items()
        )
        (directory / "prometheus.yml").write_text(
            "global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n"
            f"rule_files: ['{directory}/rules.yaml']\nscrape_configs:\n{jobs}"
        )

    def __enter__(self):
        self._process = subprocess.Popen(
            [
                self._program,
                f"--config.file={self._directory}/prometheus.yml",
                f"--storage.tsdb.path={self._directory}/data",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self._answers, START_SECONDS_MAX, "prometheus does not start")
        return self

    def __exit__(self, *exc):
        self._process.kill()
        self._process.wait()

    def _answers(self):
        try:
            self._ask("/api/v1/status/buildinfo")
            return True
        except OSError:
            return False

    def _ask(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=30) as answer:
            return json.loads(answer.read())["data"]

    def value(self, expression: str) -> float | None:
        """The value of an expression that gives one; None if it gives none."""
        found = self._ask(f"/api/v1/query?query={quote(expression)}")["result"]
        return float(found[0]["value"][1]) if found else None

    def firing(self) -> list[Alert]:
        """The alerts that fire now."""
        return [
            Alert(found["labels"]["alertname"], found["labels"], found["annotations"]["summary"])
            for found in self._ask("/api/v1/alerts")["alerts"]
            if found["state"] == "firing"
        ]

    def wait_firing(self, name: str, seconds: float, **labels: str) -> Alert:
        """Wait until an alert with some labels fires."""

        def found():
            return next(
                (alert for alert in self.firing() if alert.name == name and labels.items() <= alert.labels.items()),
                None,
            )

        return wait_until(found, seconds, f"{name} {labels} does not fire")

    def wait_over(self, name: str, seconds: float) -> None:
        """Wait until an alert does not fire any more."""
        wait_until(lambda: name not in {alert.name for alert in self.firing()}, seconds, f"{name} goes on")
