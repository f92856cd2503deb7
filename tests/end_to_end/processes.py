"""Service processes for tests: the console scripts' own main functions, with real configuration files."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from nova_sched.process.report import TITLE
from tests.servers import ServerFailed, wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
MODULES = {
    "scheduler": "nova_sched.scheduler.main",
    "shadow": "nova_sched.scheduler.shadow.main",
    "conductor": "conductor.main",
    "agent": "compute_agent.main",
}
#: All services of one cell: a service and its arguments.
COMMANDS = {
    "agent": ("agent",),
    "scheduler": ("scheduler",),
    "api": ("conductor", "--level", "api"),
    "cell": ("conductor", "--level", "cell", "--cell", "cell1"),
}


class Release(NamedTuple):
    """Where services are run from: the interpreter, the root of the source, and the module of each service."""

    python: str
    root: Path
    modules: dict[str, str]

    def environment(self) -> dict[str, str]:
        """The environment of its processes. A PYTHONPATH of the tests would lead another release to this one."""
        own = self.root == ROOT
        return {name: value for name, value in os.environ.items() if own or name != "PYTHONPATH"}


PRESENT = Release(sys.executable, ROOT, MODULES)

START_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 60.0

CELL_UUID = "11111111-aaaa-4aaa-8aaa-000000000001"


def config_text(sections: dict) -> str:
    """The text of a configuration file: section -> option -> value; a value of None leaves the option out."""
    return "\n".join(
        line
        for section, options in sections.items()
        if options is not None
        for line in (f"[{section}]", *(f"{name} = {value}" for name, value in options.items() if value is not None))
    )


def sections_for(directory: Path, **changes) -> dict:
    """A configuration of one cell on SQLite logs; ``changes``: section -> options that are put in or changed."""
    sections = {
        "DEFAULT": {"transport_url": "fake://", "graceful_shutdown_timeout": 20},
        "cells": {"cell0_log": f"sqlite:///{directory}/cell0.db", "enabled": "cell1"},
        "cell:cell1": {"log": f"sqlite:///{directory}/cell1.db", "uuid": CELL_UUID},
        "compute_agent": {
            "driver": "simulated",
            "host": "sim",
            "report_interval": 0.2,
            "simulated_hosts": 3,
            "simulated_vcpus": 8,
            "simulated_memory_mb": 8192,
            "simulated_disk_gb": 100,
        },
        "conductor": {"name": "cond"},
        "scheduler": {"name": "sched"},
    }
    for section, options in changes.items():
        section = section.replace("cell_", "cell:")
        sections[section] = None if options is None else {**sections.get(section, {}), **options}
    return sections


def rabbit_config(directory: Path, server, vhost: str = "/", compute_agent: dict | None = None, **default) -> Path:
    """A configuration file whose RPC and logs are on a RabbitServer; ``default`` are options of [DEFAULT]."""
    path = directory / "nova_sched.conf"
    sections = sections_for(
        directory,
        DEFAULT={"transport_url": server.url(vhost=vhost), **default},
        cells={"cell0_log": server.url("nova_sched.cell0", vhost)},
        cell_cell1={"log": server.url("nova_sched.cell1", vhost)},
        compute_agent=compute_agent or {},
    )
    path.write_text(config_text(sections))
    return path


def run(service: str, *args: str, env=None) -> subprocess.CompletedProcess:
    """Run a service that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", MODULES[service], *args],
        capture_output=True,
        text=True,
        timeout=START_SECONDS_MAX,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
    )


class ServiceProcess:
    """A running service; a context manager that kills what is left."""

    def __init__(self, directory: Path, service: str, *args: str, env=None, release: Release = PRESENT):
        self.service = service
        self._out = directory / f"{service}-{os.urandom(3).hex()}"
        self._files = [open(self._out.with_suffix(end), "wb") for end in (".out", ".err")]
        self.process = subprocess.Popen(
            [release.python, "-m", release.modules[service], *args],
            stdin=subprocess.DEVNULL,
            stdout=self._files[0],
            stderr=self._files[1],
            cwd=release.root,
            env={**release.environment(), **(env or {})},
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_SECONDS_MAX)
        for file in self._files:
            file.close()

    @property
    def stdout(self) -> str:
        return self._out.with_suffix(".out").read_text()

    @property
    def stderr(self) -> str:
        return self._out.with_suffix(".err").read_text()

    def wait_for(self, pattern: str, count: int = 1) -> re.Match:
        """Wait until stderr has ``count`` matches of a pattern; returns the last of them."""

        def found():
            matches = list(re.finditer(pattern, self.stderr))
            if len(matches) >= count:
                return matches[count - 1]
            assert self.process.poll() is None, f"{self.service} ended with {self.process.returncode}: {self.stderr}"
            return None

        try:
            return wait_until(found, START_SECONDS_MAX, f"{self.service} did not say {pattern!r}")
        except ServerFailed as failed:
            raise ServerFailed(f"{failed}; it said {self.stderr}") from None

    def wait_ready(self):
        self.wait_for(" is ready: ")
        return self

    def guru_report(self) -> str:
        """The text of the Guru Meditation Report that it makes now."""
        begin = len(self.stderr)
        self.send(signal.SIGUSR2)

        def made():
            assert self.process.poll() is None, f"{self.service} ended with {self.process.returncode}: {self.stderr}"
            report = re.search(rf"==== +{TITLE} +====.*", self.stderr[begin:], re.DOTALL)
            return report and report.group() if report and report.group().endswith("\n") else None

        return wait_until(made, START_SECONDS_MAX, f"{self.service} made no report")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """End it in good order; returns the exit code."""
        self.send(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS_MAX)
