#!/usr/bin/python3
"""systemctl for a tree in which no systemd runs. Tests copy it to /usr/local/bin/systemctl of the tree.

It starts what the unit says: the command of ExecStart, as the unit's user, with its environment, its directories and
its limit of files, and a socket for sd_notify: a unit of Type=notify has started when it reports READY=1. The sandbox
of a unit (ProtectSystem and the like), its dependencies and restarts are systemd's, and are not done here;
`systemd-analyze verify` checks the units as they are. The output of a service is in /var/log/units/UNIT.log.

It knows: daemon-reload, enable [--now], disable [--now], start, stop, restart, try-restart, reload, is-active, status,
show -p MainPID --value, list-units.
"""

import grp
import os
import pwd
import re
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system")
SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
STATE, LOGS = Path("/run/units"), Path("/var/log/units")
START_SECONDS_MAX, STOP_SECONDS_MAX = 240.0, 90.0


class Unit:
    """One service."""

    def __init__(self, name):
        self.name = name if name.endswith(".service") else f"{name}.service"
        stem, _, instance = self.name.removesuffix(".service").partition("@")
        self.instance = instance
        names = [self.name, f"{stem}@.service"] if instance else [self.name]
        files = [Path(place, found) for found in names for place in PLACES if Path(place, found).is_file()]
        if not files:
            sys.exit(f"Unit {self.name} could not be found.")
        self.options = {}
        drop_ins = [path for found in names for place in PLACES for path in Path(place, f"{found}.d").glob("*.conf")]
        for path in (files[0], *sorted(drop_ins)):
            for key, value in re.findall(r"^(\w+)=(.*)$", path.read_text(), re.MULTILINE):
                self.options.setdefault(key, []).append(value.replace("%i", instance).replace("%I", instance))
        self.pid_file, self.status_file = STATE / f"{self.name}.pid", STATE / f"{self.name}.status"

    def option(self, key, default=""):
        """The last value of an option."""
        return self.options.get(key, [default])[-1]

    @property
    def pid(self):
        """The process of the service, None if it does not run."""
        try:
            pid = int(self.pid_file.read_text())
            os.kill(pid, 0)
            # A process that ended and was not waited for does not run.
            return None if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text() else pid
        except (OSError, ValueError):
            return None

    def start(self):
        """Start the service and wait until it is ready."""
        if self.pid:
            return
        STATE.mkdir(exist_ok=True)
        LOGS.mkdir(exist_ok=True)
        self.status_file.write_text("starting")
        if os.fork() == 0:
            os.setsid()
            devnull = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(devnull, number)
            try:
                self._watch()
            except Exception as fault:
                self.status_file.write_text(f"ended: {fault!r}")
            os._exit(0)
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            status = self.status_file.read_text()
            if status.startswith("ready"):
                return
            if status.startswith("ended"):
                break
            time.sleep(0.1)
        log = LOGS / f"{self.name}.log"
        sys.stderr.write(log.read_text()[-4000:] if log.exists() else "")
        sys.exit(f"Job for {self.name} failed: {self.status_file.read_text()}")

    def _watch(self):
        """Run the service, and take its messages, in a process of our own."""
        account = pwd.getpwnam(self.option("User", "root"))
        group = grp.getgrnam(self.option("Group") or account.pw_name).gr_gid
        environment = {
            "PATH": SEARCHED + ":/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": account.pw_dir,
            "USER": account.pw_name,
            "NOTIFY_SOCKET": f"/run/units/{self.name}.notify",
        }
        if self.option("WatchdogSec"):
            environment["WATCHDOG_USEC"] = str(int(self.option("WatchdogSec")) * 1_000_000)
        for line in self.options.get("Environment", ()):
            environment.update(word.split("=", 1) for word in shlex.split(line.replace("%C", "/var/cache")))
        for path in self.options.get("EnvironmentFile", ()):
            if os.path.exists(path.lstrip("-")):
                pairs = re.findall(r"^(\w+)=(.*)$", Path(path.lstrip("-")).read_text(), re.MULTILINE)
                environment.update({name: " ".join(shlex.split(value)) for name, value in pairs})
        for key, place in (
            ("StateDirectory", "/var/lib"),
            ("CacheDirectory", "/var/cache"),
            ("LogsDirectory", "/var/log"),
            ("RuntimeDirectory", "/run"),
        ):
            for name in self.option(key).split():
                os.makedirs(f"{place}/{name}", exist_ok=True)
                shutil.chown(f"{place}/{name}", account.pw_uid, group)
                os.chmod(f"{place}/{name}", int(self.option(f"{key}Mode", "0755"), 8))
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        if os.path.exists(environment["NOTIFY_SOCKET"]):
            os.unlink(environment["NOTIFY_SOCKET"])
        notify.bind(environment["NOTIFY_SOCKET"])
        os.chmod(environment["NOTIFY_SOCKET"], 0o666)
        words = shlex.split(self.option("ExecStart"))
        words[0] = shutil.which(words[0], path=SEARCHED) or words[0]
        files = int(self.option("LimitNOFILE", "1024").partition(":")[0])
        # A container may have no right to raise its limit.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, most), most))
        # The log of a unit may be that of an earlier start: a reader wants the newest lines.
        with open(LOGS / f"{self.name}.log", "ab") as log:
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    user=account.pw_uid,
                    group=group,
                    extra_groups=os.getgrouplist(account.pw_name, group),
                    cwd=self.option("WorkingDirectory", "/"),
                    umask=int(self.option("UMask", "0022"), 8),
                    start_new_session=True,
                )
            except OSError as fault:
                self.status_file.write_text(f"ended: {fault}")
                return
        self.pid_file.write_text(str(process.pid))
        if self.option("Type") != "notify":
            self.status_file.write_text("ready")
        notify.settimeout(0.2)
        while process.poll() is None:
            try:
                said = dict(line.split("=", 1) for line in notify.recv(65536).decode().splitlines() if "=" in line)
            except TimeoutError:
                continue
            if "READY" in said:
                self.status_file.write_text("ready")
            if "STATUS" in said:
                (STATE / f"{self.name}.said").write_text(said["STATUS"])
        self.status_file.write_text(f"ended with {process.returncode}")

    def stop(self):
        """End the service: by ExecStop, else by SIGTERM, and by SIGKILL if it does not end."""
        pid = self.pid
        if pid is None:
            return
        if self.option("ExecStop"):
            subprocess.run(shlex.split(self.option("ExecStop")), stdout=subprocess.DEVNULL, check=False)
        else:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS_MAX
        # Until its watching process has noted it too, a new start could not be told from this end.
        while (self.pid or not self.status_file.read_text().startswith("ended")) and time.monotonic() < deadline:
            time.sleep(0.1)
        if self.pid:
            os.killpg(pid, signal.SIGKILL)
            sys.exit(f"{self.name} did not end within {STOP_SECONDS_MAX:.0f} s")

    def status(self):
        """Print what systemctl status begins with, and return its exit code."""
        said = STATE / f"{self.name}.said"
        print(f"{self.name}: {'active (running)' if self.pid else 'inactive (dead)'}, PID {self.pid}")
        print(f"  Status: {said.read_text() if said.exists() else ''}")
        return 0 if self.pid else 3


def active(patterns):
    """The names of the units that run and fit a pattern, or all."""
    names = [path.name.removesuffix(".pid") for path in sorted(STATE.glob("*.pid"))]
    return [name for name in names if Unit(name).pid and (not patterns or any(Path(name).match(p) for p in patterns))]


def main(words):
    """Do what the words say, and return the exit code."""
    flags = [word for word in words if word.startswith("-") and word != "-"]
    command, *names = [word for word in words if not word.startswith("-")] or [""]
    if command == "show":
        print(Unit(names[-1]).pid or 0)
        return 0
    if command == "list-units":
        print("".join(f"{name} loaded active running\n" for name in active(names)), end="")
        return 0
    if command in ("daemon-reload", "preset") or (command in ("enable", "disable") and "--now" not in flags):
        return 0
    names = [found for name in names for found in (active([name]) if "*" in name else [name])]
    units = [Unit(name) for name in names]
    if command == "is-active":
        print("\n".join("active" if unit.pid else "inactive" for unit in units))
        return 0 if all(unit.pid for unit in units) else 3
    if command == "status":
        return max([unit.status() for unit in units])
    for unit in units:
        if command in ("stop", "disable", "restart") or (command == "try-restart" and unit.pid):
            was = unit.pid
            unit.stop()
            if command in ("restart", "try-restart") and (was or command == "restart"):
                unit.start()
        elif command in ("start", "enable"):
            unit.start()
        elif command == "reload":
            os.kill(unit.pid, signal.SIGHUP)
        elif command != "try-restart":
            sys.exit(f"systemctl of the tests does not know {command}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
