"""Facts of the machine: versions, operating system, our processes, the answers of the services on it."""

import http.client
import os
import platform
import shutil
import signal
import sys
from importlib import metadata
from pathlib import Path

from nova_sched.process.version import version
from rpc_api.levels import LEVEL

PROGRAM = "nova-sched"
#: The ports of [monitoring] of all services and of some workers of the Placement API: see docs/operating/monitoring.md.
PORTS = range(9773, 9786)
PATHS = ("/healthz", "/readyz", "/metrics")
ASK_SECONDS_MAX = 3.0
ANSWER_MAX = 4 * 1024 * 1024


def versions() -> dict:
    """The version of nova_sched, the level that it knows, of Python and of all installed distributions."""
    found = {point.metadata["Name"]: point.version for point in metadata.distributions() if point.metadata["Name"]}
    return {
        "nova_sched": version(),
        "level": LEVEL,
        "python": sys.version,
        "environment": sys.prefix,
        "distributions": dict(sorted(found.items(), key=lambda item: item[0].lower())),
    }


def operating_system(folders) -> dict:
    """The operating system, its memory, its load, and the room in some folders."""
    room = {}
    for folder in sorted({str(folder) for folder in folders}):
        try:
            usage = shutil.disk_usage(folder)
            room[folder] = {
                "total_bytes": usage.total,
                "free_bytes": usage.free,
                "free_inodes": os.statvfs(folder).f_favail,
            }
        except OSError as fault:
            room[folder] = fault.strerror
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "release": _lines("/etc/os-release"),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
        "memory": _lines("/proc/meminfo")[:8],
        "uptime": _lines("/proc/uptime"),
        "room": room,
    }


def _lines(path):
    try:
        return Path(path).read_text().splitlines()
    except OSError as fault:
        return [f"{path}: {fault.strerror}"]


def processes() -> list[dict]:
    """Our processes on this machine: id, words of the command, memory, threads, open files."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
            if not any(Path(word).name.startswith(f"{PROGRAM}-") for word in words[:2]):
                continue
            status = dict(line.split(":\t", 1) for line in _lines(folder / "status") if ":\t" in line)
            found.append(
                {
                    "pid": int(folder.name),
                    "command": words,
                    "memory": status.get("VmRSS", "").strip(),
                    "threads": status.get("Threads"),
                    "limits": _lines(folder / "limits"),
                    "catches_usr2": _catches(status.get("SigCgt", "0"), signal.SIGUSR2),
                }
            )
        except (OSError, ValueError):  # it ended meanwhile
            continue
    return sorted(found, key=lambda process: process["pid"])


def _catches(mask, number):
    return bool(int(mask, 16) >> (number - 1) & 1)


def ask_for_report(process: dict) -> str | None:
    """Send SIGUSR2 to a service; return why not. A process that does not catch it would end."""
    if not process["catches_usr2"]:
        return "it does not take SIGUSR2 (yet)"
    try:
        os.kill(process["pid"], signal.SIGUSR2)
    except OSError as fault:
        return fault.strerror
    return None


def answers(host: str, port: int):
    """Give (path, status or None, text) of a service's health and metrics; nothing if no service listens."""
    for path in PATHS:
        connection = http.client.HTTPConnection(host, port, timeout=ASK_SECONDS_MAX)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            yield path, answer.status, answer.read(ANSWER_MAX).decode(errors="replace")
        except ConnectionRefusedError:
            return
        except (OSError, http.client.HTTPException) as fault:
            yield path, None, f"no answer: {fault!r}\n"
        finally:
            connection.close()
