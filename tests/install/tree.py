"""A small Debian 12 in a directory (debootstrap), with its own processes, hostname and loopback network.

It is a machine for tests of the installation: an empty controller. Commands run in it by chroot. They see no network
but their own loopback device, except those that install packages. Everything ends with the context.
"""

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
RELEASE = "bookworm"
MIRROR = os.environ.get("NOVA_SCHED_DEBIAN_MIRROR", "http://deb.debian.org/debian")
#: Trees that are made once and copied for each test.
CACHE = Path(os.environ.get("NOVA_SCHED_INSTALL_CACHE", ROOT / "out" / "install-cache"))
NEEDED = {"debootstrap": "debootstrap", "unshare": "util-linux", "nsenter": "util-linux", "ip": "iproute2"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOSTNAME = "controller"
SYSTEMCTL = Path(__file__).with_name("systemctl.py")
MINUTE = 60.0


class TreeMissing(Exception):
    """A tree cannot be made here; the text says why."""


def check() -> None:
    """Raise TreeMissing if this machine cannot make a tree."""
    if os.geteuid() != 0:
        raise TreeMissing("debootstrap, chroot and unshare need root; run the test as root")
    for program, package in NEEDED.items():
        if shutil.which(program) is None:
            raise TreeMissing(f"{program} is not installed; install the package {package}")


def base() -> Path:
    """The cached tree of an empty machine: debootstrap's smallest one. It is made if it does not exist."""
    check()
    return cached("base", lambda path: run("debootstrap", "--variant=minbase", RELEASE, path, MIRROR))


def cached(name: str, make) -> Path:
    """The tree ``name`` of the cache; ``make(path)`` makes it in a path of its own first."""
    path = CACHE / name
    if not path.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        part = CACHE / f"{name}.{secrets.token_hex(4)}.part"
        try:
            make(part)
            with contextlib.suppress(OSError):  # another test process was faster
                part.rename(path)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return path


def copied(source: Path, path: Path) -> Path:
    """A copy of a tree with its owners and modes."""
    run("cp", "-a", source, path)
    return path


def run(*words, timeout: float = 30 * MINUTE, **options) -> str:
    """Run a program of this machine and return its output; AssertionError with the output if it fails."""
    done = subprocess.run(
        [str(word) for word in words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=timeout,
        **options,
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout[-8000:]}"
    return done.stdout


def package_index() -> tuple[dict[str, str], list[str]]:
    """Return (variables, directories) that give pip in a tree the package index of this machine.

    pip's own configuration is read here, so the documents do not need to name any index."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, timeout=MINUTE
    ).stdout
    variables = {}
    for scope in ("global", "user", "site", "install", ":env:"):
        for name, value in re.findall(rf"^{re.escape(scope)}\.(\S+?)='(.*)'$", listed, re.MULTILINE):
            variables["PIP_" + name.strip(".").upper().replace("-", "_")] = value
    variables.update({name: value for name, value in os.environ.items() if name.lower() in PROXIES})
    words = [word.removeprefix("file://") for value in variables.values() for word in value.split()]
    places = {word for word in words if word.startswith("/") and os.path.exists(word)}
    # An index in files names them relative to the directory that it is in.
    return variables, sorted(place.removesuffix("/simple") for place in places)


PROXIES = ("http_proxy", "https_proxy", "no_proxy")


class Tree:
    """A running tree. ``path`` is its root on this machine."""

    def __init__(self, path: Path):
        self.path = path
        self._holder = None
        self._pid = None
        self._index = {}

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def _start(self):
        self._index, places = package_index()
        self._hand_in(places)
        binds = [f"mkdir -p {self.path}/run/index" + "".join(self._bind(place) for place in places)]
        script = "\n".join(
            [
                "set -e",
                f"hostname {HOSTNAME}",
                "ip link set lo up",
                f"mount -t proc proc {self.path}/proc",
                f"mount --rbind /dev {self.path}/dev",
                f"mount -t tmpfs tmpfs {self.path}/run",
                *binds,
                "echo ready",
                # The first process waits for those whose parent has ended. It ends when the pipe is closed, so with the
                # test in whatever way that ends, and then the kernel ends all others.
                "exec bash -c 'cat > /dev/null; exit'",
            ]
        )
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = self._holder.stdout.readline()
        if said.strip() != "ready":
            raise TreeMissing(f"namespaces cannot be made here: {said.strip()}")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self._pid = children[0]

    def _hand_in(self, places):
        """What a machine has from its owner: name servers, a hostname, and no start of services by packages, as no
        systemd runs here. ``systemctl`` is ours: see systemctl.py."""
        etc = self.path / "etc"
        shutil.copy("/etc/resolv.conf", etc / "resolv.conf")
        (etc / "hostname").write_text(f"{HOSTNAME}\n")
        (etc / "hosts").write_text(f"127.0.0.1 localhost {HOSTNAME}\n")
        for found in Path("/etc/apt/apt.conf.d").glob("*"):
            if re.search(r"Proxy|Check-Valid-Until", found.read_text(errors="replace")):
                shutil.copy(found, etc / "apt" / "apt.conf.d" / found.name)
        policy = self.path / "usr/sbin/policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
        shutil.copy(SYSTEMCTL, self.path / "usr/local/bin/systemctl")
        (self.path / "usr/local/bin/systemctl").chmod(0o755)
        for place in places:
            target = self.path / place.lstrip("/")
            if os.path.isdir(place):
                target.mkdir(parents=True, exist_ok=True)

    def _bind(self, place):
        if os.path.isdir(place):
            return f"\nmount --bind -o ro {place} {self.path}{place}"
        # A file, such as a certificate, goes to a place that no package of the tree owns.
        name = place.replace("/", "_")
        self._index = {key: value.replace(place, f"/run/index/{name}") for key, value in self._index.items()}
        return f"\ncp {place} {self.path}/run/index/{name}"

    def command(self, *words, network: bool = False, environment=()) -> list[str]:
        """The words that run a command in the tree. With ``network`` it sees the network of this machine."""
        variables = {"PATH": PATH, "HOME": "/root", "TERM": "dumb", "LC_ALL": "C.UTF-8", **dict(environment)}
        if network:
            variables |= {**self._index, "DEBIAN_FRONTEND": "noninteractive"}
        spaces = ["--mount", "--pid", "--uts", "--ipc", *([] if network else ["--net"])]
        entered = ["nsenter", "--target", self._pid, *spaces, "chroot", str(self.path)]
        return [*entered, "env", "-i", *(f"{name}={value}" for name, value in variables.items()), *map(str, words)]

    def run(self, *words, network: bool = False, environment=(), timeout: float = 20 * MINUTE) -> str:
        """Run a command in the tree and return what it prints; AssertionError if it fails."""
        return run(*self.command(*words, network=network, environment=environment), timeout=timeout)

    def read(self, path: str) -> str:
        """The text of a file of the tree."""
        return (self.path / path.lstrip("/")).read_text()

    def close(self) -> None:
        """End all processes of the tree and remove its mounts. Its files stay."""
        if self._holder is not None:
            self._holder.kill()
            self._holder.wait(MINUTE)
            self._holder.stdin.close()
            self._holder.stdout.close()
            self._holder = None


class Shell:
    """A shell in a tree that stays, as the shell of a person: what one block of commands sets, the next one uses."""

    def __init__(self, tree: Tree, network: bool = False, environment=()):
        self._tree = tree
        self._process = subprocess.Popen(
            tree.command("bash", network=network, environment=environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )

    def __enter__(self):
        self._process.stdin.write("cd /root\nset -E -o pipefail\ntrap 'FAILED=\"$BASH_COMMAND: $?\"' ERR\n")
        return self

    def __exit__(self, *exc):
        self._process.stdin.close()
        self._process.kill()
        self._process.wait(MINUTE)
        self._process.stdout.close()

    def run(self, block: str) -> tuple[str, str]:
        """Run some lines and return (output, the command that failed or "")."""
        mark = f"end-{secrets.token_hex(8)}"
        # A command that reads its input must not read the lines after it.
        path = self._tree.path / "tmp" / f"{mark}.sh"
        path.write_text(block)
        self._process.stdin.write(f'FAILED=\n. /tmp/{mark}.sh < /dev/null\necho "{mark} $FAILED"\n')
        self._process.stdin.flush()
        lines = []
        for line in self._process.stdout:
            if line.startswith(mark):
                return "".join(lines), line.removeprefix(mark).strip()
            lines.append(line)
        return "".join(lines), "the shell ended"
