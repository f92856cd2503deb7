"""A real OpenStack on nova_sched: one boot, one resize, one build that Nova's conductor of the cell reschedules."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: The cloud uses ten ports from the first one, and one per cell.
PORTS = 12


def free_ports() -> int:
    """The first of :data:`PORTS` ports of this machine that are free in a row."""
    for first in range(21000, 32000, 100):
        try:
            for port in range(first, first + PORTS):
                with socket.socket() as listener:
                    listener.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.mark.long
def test_a_boot_a_move_and_a_reschedule(tmp_path_factory):
    environment = {
        **os.environ,
        "CLOUD_DIR": os.environ.get("NOVA_SCHED_CLOUD_DIR") or str(tmp_path_factory.mktemp("cloud")),
        "CLOUD_PORT": str(free_ports()),
        "STOCK": "",
    }
    done = subprocess.run(
        [HERE / "test_cloud.sh", "short"], env=environment, capture_output=True, text=True, check=False
    )
    report = Path(environment["CLOUD_DIR"]) / "report"
    logs = "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(report.glob("*.log")))
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{logs}"
