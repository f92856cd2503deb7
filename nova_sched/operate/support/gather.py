"""Gather a support bundle: what each part asks, and in which order. The cheap parts come first."""

import json
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import NamedTuple

from nova_sched.operate.support import machine
from nova_sched.operate.support.contents import TEXT_MAX
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
#: For a reader of a file.
PLAIN = ("--no-progress", "--color", "never")
#: One command may take so long; the rest of the time of the bundle is for the others.
COMMAND_SECONDS_MAX = 60.0
#: The end of a log file of a service.
LOG_FILE_MAX = 2 * 1024 * 1024
REPORT_SECONDS_MAX = 10.0
#: A program of the system that answers nothing is given up.
SYSTEM_SECONDS_MAX = 20.0
JOURNAL_LINES_MAX = 20_000


class Job(NamedTuple):
    """A command of ours: the name of what it gives, its entry point, its words, and the file that it writes or None."""

    name: str
    entry: str
    words: list[str]
    target: Path | None

    def words_of(self) -> dict:
        """The job as nova_sched.cli.in_turn reads it."""
        return {"entry": self.entry, "words": self.words}


class Ended(NamedTuple):
    """A job that ended: what it printed (None: nothing), its exit code, why it has none, and when it began."""

    job: Job
    text: str | None
    code: int | None
    fault: str | None
    began: float | None


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
        _of_logs(contents, wanted)
    else:
        contents.missing("logs", "no log is named in the configuration, by --log or by $NOVA_SCHED_LOG")


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
    code, text, fault = _run(words, min(SYSTEM_SECONDS_MAX, contents.seconds_left), wanted.folder)
    contents.text("service-logs/journal.txt", text, began, fault or (f"exit {code}" if code else None), keep_end=True)


def _of_logs(contents, wanted):
    """Add what our commands show of the logs, and the newest records of each log, without personal data."""
    jobs = [Job(f"commands/{name}.txt", entry, [*words, *PLAIN], None) for name, (entry, words) in COMMANDS.items()]
    for number, log in enumerate(wanted.logs, start=1):
        cell, named, _ = log.partition("=")
        # A URL may have a "=" too, and the directory of a play has several logs.
        if not named or "/" in cell:
            cell = f"log-{number}"
        target = wanted.folder / f"{cell}.nslog"
        span, fault = f"@-{wanted.since}:", None
        if wanted.records is not None:
            span, fault = _last_records(log, wanted.records)
        if fault is not None:
            contents.missing(f"logs/{cell}.nslog", fault)
            continue
        words = ["--log", log, "export", span, "-o", str(target), "--no-progress"]
        jobs.append(Job(f"logs/{cell}.nslog", "replay", words, target))
    for ended in _in_turn(contents, wanted, jobs):
        _add(contents, ended)


def _add(contents, ended):
    """Add the result of one job."""
    job, text, code, fault = ended.job, ended.text, ended.code, ended.fault
    if fault is None and code not in (errors.EXIT_OK, errors.EXIT_NEGATIVE):
        fault = f"exit {code}: {_last(text)}"
    if job.target is None:
        if text is None:
            contents.missing(job.name, fault, ended.began)
        else:
            contents.text(job.name, text, ended.began, fault)
    elif job.target.exists() and code in (errors.EXIT_OK, errors.EXIT_GAP):
        contents.file(job.name, job.target, ended.began, fault)
    else:
        contents.missing(job.name, fault or _last(text), ended.began)


def _last_records(log, count):
    """Return (range of the last records of a log, None), or (None, why it cannot be read)."""
    from nova_sched.replay.logs.source import Source

    try:
        with Source([log], False) as source:
            cell, bounds = next((cell, found.bounds()) for cell, found in source.logs.items())
    except errors.NovaSchedError as fault:
        return None, str(fault)
    return f"{cell}:{max(bounds.first, bounds.last - count + 1)}:{bounds.last}", None


def _in_turn(contents, wanted, jobs):
    """Run our commands in a process of their own, and give an :class:`Ended` for each. A command that takes too long is
    ended with that process, and another one runs the rest."""
    waiting = list(enumerate(jobs))
    while waiting:
        if not contents.seconds_left:
            yield from (Ended(job, None, None, "no time is left; raise --seconds", None) for _, job in waiting)
            return
        outputs = {number: wanted.folder / f"job-{number}" for number, _ in waiting}
        process = _begun(wanted, [{**job.words_of(), "output": str(outputs[number])} for number, job in waiting])
        try:
            while waiting:
                number, job = waiting.pop(0)
                began = contents.now()
                # An export may take all the time that is left.
                most = contents.seconds_left if job.target else min(COMMAND_SECONDS_MAX, contents.seconds_left)
                done = Path(f"{outputs[number]}.code")
                while not done.exists() and process.poll() is None and contents.now() - began < most:
                    _pause()
                code = int(done.read_text()) if done.exists() else process.poll()
                fault = None if code is not None else f"it did not end within {most:.0f} s, and was ended"
                yield Ended(job, _text_of(outputs[number]), code, fault, began)
                if not done.exists():
                    break
        finally:
            _end(process)


def _begun(wanted, jobs):
    """Start the process that runs jobs."""
    # The URLs have passwords: other users see the words of a command, and not its variables or its input. The cache of
    # folded states is shared by the commands of this bundle.
    variables = {"NOVA_SCHED_LOG": " ".join(wanted.logs), "XDG_CACHE_HOME": str(wanted.folder / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "nova_sched.cli.in_turn"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    process.stdin.write(json.dumps(jobs).encode())
    process.stdin.close()
    return process


def _end(process):
    """End a process and its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text_of(path):
    """What a program printed, one byte more than a text may have, so that it is marked as cut. None for no file."""
    try:
        with open(path, "rb") as file:
            return file.read(TEXT_MAX + 1).decode(errors="replace")
    except FileNotFoundError:
        return None


def _run(words, seconds_max, folder):
    """Return (exit code, output, None), or with a sentence in the third place if the program did not end."""
    path = folder / "output"
    try:
        with open(path, "wb") as file:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
    except OSError as fault:
        return None, "", f"{words[0]} cannot be run ({fault.strerror})"
    fault = None
    try:
        process.wait(seconds_max)
    except subprocess.TimeoutExpired:
        fault = f"it did not end within {seconds_max:.0f} s, and was ended"
    _end(process)
    return process.returncode, _text_of(path), fault


def _last(text):
    return (deque((line for line in (text or "").splitlines() if line.strip()), maxlen=1) or ["no output"])[0]
