"""Gather a support bundle: what each part asks, and in which order. The cheap parts come first."""

import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import NamedTuple

from nova_sched.operate.support import machine
from nova_sched.operate.support.masking import Options, parsed
from rpc_api import errors

#: The commands of which a bundle has the output: name -> (entry point, words).
COMMANDS = {
    "doctor": ("replay", ["doctor"]),
    "check": ("replay", ["check"]),
    "services": ("main", ["service", "list"]),
    "state": ("replay", ["state"]),
    "stats": ("replay", ["stats"]),
    "quarantine": ("replay", ["quarantine"]),
    "policies": ("main", ["policy", "history"]),
}
#: One command may take so long; the rest of the time of the bundle is for the others.
COMMAND_SECONDS_MAX = 60.0
#: The end of a log file of a service.
LOG_FILE_MAX = 2 * 1024 * 1024
REPORT_SECONDS_MAX = 10.0
#: A program of the system that answers nothing is given up.
SYSTEM_SECONDS_MAX = 20.0
JOURNAL_LINES_MAX = 20_000


class Wanted(NamedTuple):
    """What a bundle is asked for. ``logs``: CELL=URL of each log; ``since``: a time of the replay tool, such as 60m;
    ``records``: the number of records of each log, in the place of a time."""

    files: list[str]
    logs: list[str]
    since: str
    records: int | None
    reports: bool
    folder: Path


def gather(contents, secrets, wanted: Wanted, conf) -> None:
    """Put everything into the contents. ``conf``: the services' configuration, None if it cannot be read."""
    # Secrets first: every later text is scrubbed of them.
    sections = _configuration(contents, secrets, wanted.files)
    for log in wanted.logs:
        secrets.add_passwords_of(log)
    # (The commands register no options of libraries, so what the services set is read from the files.)
    log_dir = _last_of(sections, "DEFAULT", "log_dir") or _last_of(sections, "DEFAULT", "logdir")
    _facts(contents, log_dir)
    _answers(contents, conf, sections)
    if wanted.reports:
        _reports(contents, _last_of(sections, "oslo_reports", "log_dir"))
    _service_logs(contents, wanted, log_dir)
    if wanted.logs:
        _commands(contents, wanted)
        _exports(contents, wanted)
    else:
        contents.missing("logs", "no log is named in the configuration or by --log")


def _configuration(contents, secrets, files):
    """Add each configuration file without secrets and comments. Return their sections."""
    found, faults = {}, {}
    for path in files:
        try:
            found[path] = parsed(path)
        except Exception as fault:  # (errors of oslo.config too, which quote the line that cannot be read)
            faults[path] = f"it cannot be read ({type(fault).__name__})"
    options = Options(list(found.values()))
    texts = {path: secrets.masked_file(options, sections) for path, sections in found.items()}
    for path in files:
        name = f"config/{path.lstrip('/').replace('/', '_')}"
        if path in texts:
            contents.text(name, texts[path])
        else:
            contents.missing(name, faults[path])
    # Values of variables may be passwords, and their names show what is set.
    contents.json(
        "config/environment.json", sorted(name for name in os.environ if name.startswith(("OS_", "NOVA_SCHED")))
    )
    return list(found.values())


def _last_of(sections, section, name):
    """The last value of an option in the files, None if no file has it."""
    named = [value for file in sections for value in file.get(section, {}).get(name, ())]
    return named[-1] if named else None


def _facts(contents, log_dir):
    contents.json("versions.json", machine.versions())
    folders = ["/", "/var/lib", "/var/log", "/tmp", *([log_dir] if log_dir else [])]
    contents.json("system.json", machine.operating_system(folders))
    contents.json("processes.json", machine.processes())


def _answers(contents, conf, sections):
    """Add the health and the metrics of the services that listen on this machine."""
    host = conf.monitoring.host if conf is not None else "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(host), str(host))
    named = {int(value) for file in sections for value in file.get("monitoring", {}).get("port", ()) if value.isdigit()}
    listening = 0
    for port in sorted({*machine.PORTS, *named}):
        began = contents.now()
        if not contents.seconds_left:
            contents.missing(f"services/{port}", "no time is left; raise --seconds")
            return
        for path, status, text in machine.answers(host, port):
            listening += 1
            problem = None if status == 200 else f"answered {status}" if status else text.strip()
            contents.text(f"services/{port}{path}.txt", text, began, problem)
    if not listening:
        contents.missing("services", f"no service listens on {host} for its metrics; set [monitoring] enabled")


def _reports(contents, place):
    """Ask the services on this machine for their report (SIGUSR2), and add those that go to files."""
    place = Path(place) if place else None
    before = {path.name for path in place.glob("*")} if place else set()
    asked = 0
    for process in machine.processes():
        refused = machine.ask_for_report(process)
        if refused:
            contents.missing(f"reports/{process['pid']}", refused)
        asked += refused is None
    if place is None:
        if asked:
            contents.missing("reports", "[oslo_reports] log_dir is not set: the reports are in the journal")
        return
    began, deadline = contents.now(), min(REPORT_SECONDS_MAX, contents.seconds_left)
    fresh = []
    while asked and len(fresh) < asked and contents.now() - began < deadline:
        _pause()
        fresh = [path for path in sorted(place.glob("*")) if path.name not in before and path.stat().st_size]
    for path in fresh:
        contents.text(f"reports/{path.name}.txt", path.read_text(errors="replace"), began)
    if len(fresh) < asked:
        contents.missing("reports", f"{asked - len(fresh)} of {asked} services wrote no report in {place}", began)


def _pause():
    """Wait a moment for a file that another process writes."""
    signal.sigtimedwait([], 0.2)


def _service_logs(contents, wanted, log_dir):
    """Add the ends of the services' log files, and the journal of their units."""
    folder = Path(log_dir) if log_dir else None
    for path in sorted(folder.glob("nova-sched*.log")) if folder else ():
        began = contents.now()
        try:
            with open(path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - LOG_FILE_MAX))
                text = file.read(LOG_FILE_MAX).decode(errors="replace")
        except OSError as fault:
            contents.missing(f"service-logs/{path.name}", f"it cannot be read ({fault.strerror})", began)
            continue
        problem = None if size <= LOG_FILE_MAX else f"its end: it has {size} bytes"
        contents.text(f"service-logs/{path.name}", text, began, problem, keep_end=True)
    began = contents.now()
    if not os.path.isdir("/run/systemd/system"):
        contents.missing("service-logs/journal.txt", "no systemd runs here")
        return
    words = [
        "journalctl",
        "--unit=nova-sched-*",
        f"--since=-{wanted.since}",
        f"--lines={JOURNAL_LINES_MAX}",
        "--no-pager",
    ]
    code, text, fault = _run(words, min(SYSTEM_SECONDS_MAX, contents.seconds_left), wanted.folder, {})
    contents.text("service-logs/journal.txt", text, began, fault or (f"exit {code}" if code else None), keep_end=True)


def _commands(contents, wanted):
    for name, (entry, words) in COMMANDS.items():
        began = contents.now()
        if not contents.seconds_left:
            contents.missing(f"commands/{name}.txt", "no time is left; raise --seconds")
            continue
        code, text, fault = _ours(contents, wanted, entry, [*words, "--no-progress", "--color", "never"])
        problem = fault or (None if code in (errors.EXIT_OK, errors.EXIT_NEGATIVE) else f"exit {code}: {_last(text)}")
        contents.text(f"commands/{name}.txt", text, began, problem)


def _exports(contents, wanted):
    """Add the newest records of each log, without personal data."""
    for log in wanted.logs:
        cell = log.partition("=")[0]
        name, began = f"logs/{cell}.nslog", contents.now()
        target = wanted.folder / f"{cell}.nslog"
        if not contents.seconds_left:
            contents.missing(name, "no time is left; raise --seconds")
            continue
        span, fault = f"@-{wanted.since}:", None
        if wanted.records is not None:
            span, fault = _last_records(log, wanted.records)
        if fault is None:
            words = ["export", span, "-o", str(target), "--no-progress"]
            code, text, fault = _ours(contents, wanted, "replay", words, [log], contents.seconds_left)
            if fault is None and code not in (errors.EXIT_OK, errors.EXIT_GAP):
                fault = f"exit {code}: {_last(text)}"
        if fault is None and target.exists():
            contents.file(name, target, began, None if code == errors.EXIT_OK else _last(text))
        else:
            contents.missing(name, fault or "nothing was written", began)


def _last_records(log, count):
    """Return (range of the last records of a log, None), or (None, why it cannot be read)."""
    from nova_sched.replay.logs.source import Source

    try:
        with Source([log], False) as source:
            cell, bounds = next((cell, found.bounds()) for cell, found in source.logs.items())
    except errors.NovaSchedError as fault:
        return None, str(fault)
    return f"{cell}:{max(bounds.first, bounds.last - count + 1)}:{bounds.last}", None


def _ours(contents, wanted, entry, words, logs=None, seconds_max=COMMAND_SECONDS_MAX):
    """Run one of our commands in a process of its own, so that its time has a limit."""
    code = f"import sys; from nova_sched.cli.main import {entry}; sys.exit({entry}(sys.argv[1:]))"
    # The URLs have passwords: other users see the words of a command, and not its variables. The cache of folded states
    # is shared by the commands of this bundle.
    variables = {"NOVA_SCHED_LOG": " ".join(logs or wanted.logs), "XDG_CACHE_HOME": str(wanted.folder / "cache")}
    words = [sys.executable, "-W", "ignore", "-c", code, *words]
    return _run(words, min(seconds_max, contents.seconds_left), wanted.folder, variables)


def _run(words, seconds_max, folder, variables):
    """Return (exit code, output, None), or with a sentence in the third place if the program did not end."""
    path = folder / "output"
    with open(path, "wb") as file:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
                start_new_session=True,
            )
        except OSError as fault:
            return None, "", f"{words[0]} cannot be run ({fault.strerror})"
        fault = None
        try:
            process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            fault = f"it did not end within {seconds_max:.0f} s, and was ended"
    with open(path, "rb") as file:
        # One byte more than a text may have, so that it is marked as cut.
        text = file.read(4 * 1024 * 1024 + 1).decode(errors="replace")
    return process.returncode, text, fault


def _last(text):
    return (deque((line for line in text.splitlines() if line.strip()), maxlen=1) or ["no output"])[0]
