"""The what-if of the page: one at a time, in a process of its own, with a limit of time."""

import json
import logging
import subprocess
import sys
import threading
from typing import NamedTuple

from nova_sched.page.answers import Conflict
from rpc_api.clock import SYSTEM

LOG = logging.getLogger(__name__)
PROGRAM = (sys.executable, "-m", "nova_sched.page.what_if_process")


class Job(NamedTuple):
    """A what-if: ``state`` is none, running, done, failed or stopped; ``progress`` is 0 to 1. ``result`` is there when
    it is done, and ``error`` when it failed."""

    number: int = 0
    state: str = "none"
    sides: list = []
    progress: float = 0.0
    label: str = ""
    result: dict | None = None
    error: str | None = None


class WhatIfs:
    """Runs what-ifs over the logs that are named (as of --log)."""

    def __init__(self, names, config_files, records_max: int, seconds: int, clock=SYSTEM, program=PROGRAM):
        self._names, self._config_files = list(names), list(config_files)
        self._records_max, self._seconds, self._clock = records_max, seconds, clock
        self._program = program
        self._lock = threading.Lock()
        self._process = None
        self.job = Job()

    def start(self, sides: list) -> Job:
        """Start a what-if; Conflict if one runs."""
        with self._lock:
            if self.job.state == "running":
                raise Conflict("a what-if runs already; wait for its end, or stop it")
            if self._process is not None:
                # The one before has answered or was stopped, but its process may still be there.
                self._process.kill()
            self._process = subprocess.Popen(
                self._program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            self.job = Job(self.job.number + 1, "running", sides)
            asked = {
                "logs": self._names,
                "config_files": self._config_files,
                "records": self._records_max,
                "sides": sides,
            }
            watched = (self.job.number, self._process, asked)
            threading.Thread(target=self._watch, args=watched, name="what-if", daemon=True).start()
            return self.job

    def stop(self) -> Job:
        """End the what-if that runs, if there is one."""
        with self._lock:
            if self.job.state == "running":
                self.job = self.job._replace(state="stopped", error="the what-if was stopped")
                self._process.kill()
            return self.job

    def _runs(self, number):
        """Whether the job of a number runs. The process of one that was stopped, or has answered, may still write
        and end when the next one runs already."""
        return self.job.number == number and self.job.state == "running"

    def _watch(self, number, process, asked):
        said = []
        timer = threading.Timer(self._seconds, self._end_late, (number, process))
        timer.daemon = True
        timer.start()
        failed = threading.Thread(target=lambda: said.append(process.stderr.read()), daemon=True)
        failed.start()
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.close()
            for line in process.stdout:
                self._see(number, json.loads(line))
        except (OSError, ValueError) as fault:
            LOG.debug("a what-if ended early: %s", fault)
        code = process.wait()
        timer.cancel()
        failed.join(5)
        with self._lock:
            if self._runs(number):
                LOG.error("a what-if ended with %d: %s", code, "".join(said)[-2000:])
                self.job = self.job._replace(
                    state="failed", error="a fault in nova_sched itself; see the log of the page"
                )

    def _see(self, number, line):
        with self._lock:
            if not self._runs(number):
                return
            if "error" in line:
                self.job = self.job._replace(state="failed", error=line["error"])
            elif "facts" in line:
                self.job = self.job._replace(state="done", progress=1.0, label="", result=line)
            else:
                self.job = self.job._replace(progress=line["progress"], label=line["label"])

    def _end_late(self, number, process):
        with self._lock:
            if self._runs(number):
                self.job = self.job._replace(
                    state="failed",
                    error=f"the what-if took more than {self._seconds} s ([page] what_if_seconds); use "
                    "nova-sched-replay what-if",
                )
            process.kill()
