"""Private servers for tests: RabbitMQ and Redis on free loopback ports, with their data in a temporary directory.

They run as the user who runs the tests (root or not), share nothing with a
system service, and are killed when the context ends, the interpreter exits, or
the process that started them is gone in whatever way.
"""

import atexit
import contextlib
import glob
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import amqp

#: The script itself: Debian's wrapper in /usr/sbin changes to the user rabbitmq and refuses every other one.
RABBIT_SCRIPTS = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"
EPMD_PLACES = ("/usr/lib/erlang/erts-*/bin", "/usr/lib/erlang/bin", "/usr/local/lib/erlang/erts-*/bin")

#: Below the ports that Linux gives to a process that asks for any port: no other connection takes one of them. Test
#: processes that run side by side draw from separate parts.
PORTS = range(12_000, 32_000)
TEST_JOBS_MAX = 8
#: Ports that were given to a test, which may listen on them later.
_given = set()

START_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 30.0
POLL_SECONDS = 0.02

#: Reads from a pipe that only we hold open: it ends with us, be it by SIGKILL, and then takes the group $0 along.
WATCH = 'read -r _; kill -s KILL -- "-$0"'  # POSIX: the kill of dash knows no "-KILL --"


class ServerMissing(Exception):
    """The server program is not installed; the text names the package."""


class ServerFailed(Exception):
    """A server did not start or stop, or a control command failed; the text has the end of its log."""


def find_program(name: str, places: tuple[str, ...], package: str) -> str:
    """Return the path of ``name``: from the globs ``places`` (the last match), else from PATH."""
    for place in places:
        found = sorted(glob.glob(f"{place}/{name}"))
        if found:
            return found[-1]
    on_path = shutil.which(name)
    if on_path is None:
        raise ServerMissing(f"{name} is not installed; install the package {package}")
    return on_path


def free_port() -> int:
    """Return a TCP port that was free on 127.0.0.1 a moment ago, and that nobody else is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    while True:
        port = secrets.choice(PORTS[worker % TEST_JOBS_MAX :: TEST_JOBS_MAX])
        if port in _given:
            continue
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def wait_until(check, seconds: float, what: str):
    """Call ``check`` until it returns a true value, and return that; ServerFailed after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = check()
        if value:
            return value
        time.sleep(POLL_SECONDS)
    raise ServerFailed(f"{what} within {seconds:.0f} s")


class _Server:
    """A child process in its own process group, with a directory that goes away with it."""

    def __init__(self, name: str):
        self.dir = Path(tempfile.mkdtemp(prefix=f"nova_sched-test-{name}-"))
        self.host = "127.0.0.1"
        self.port = free_port()
        self._process: subprocess.Popen | None = None
        self._watchers: dict[int, subprocess.Popen] = {}
        atexit.register(self.close)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def start(self) -> None:
        raise NotImplementedError

    @property
    def runs(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the server in good order; its data stay."""
        self._end(self._process, signal.SIGTERM)

    def wait_kept(self) -> None:
        """Wait until the server has on its disk who coordinates its streams: killed within the first second after the
        first of them was declared, it forgets that, and none of them comes back."""
        wait_until(
            lambda: any(b"rabbit_stream_coordinator" in path.read_bytes() for path in self.dir.rglob("names.dets")),
            20,
            "the coordinator of the streams is not on the disk",
        )

    def kill(self) -> None:
        """End the server with SIGKILL, as a power cut does; its data stay."""
        self._end(self._process, signal.SIGKILL)

    def freeze(self) -> None:
        """Let it hang (SIGSTOP): its connections stay, and nothing answers."""
        self._signal_group(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal_group(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill the server and remove its directory; a second call does nothing."""
        atexit.unregister(self.close)
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _spawn(self, command: list[str], env: dict | None = None) -> subprocess.Popen:
        with open(self.dir / "console.log", "ab") as console:
            process = subprocess.Popen(
                command,
                env=env,
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
            self._watchers[process.pid] = subprocess.Popen(
                ["/bin/sh", "-c", WATCH, str(process.pid)],
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        return process

    def _end(self, process: subprocess.Popen | None, signal_number: int) -> None:
        """Signal the whole group of ``process`` and wait until it is gone."""
        if process is None:
            return
        group = process.pid
        watcher = self._watchers.pop(group, None)
        if watcher is not None:  # before the group: its number may be given to another one
            watcher.kill()
            watcher.stdin.close()
            watcher.wait()
        self._signal_group(group, signal_number)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._signal_group(group, signal.SIGKILL)
            process.wait(STOP_SECONDS_MAX)
        self._signal_group(group, signal.SIGKILL)  # what the leader left behind
        wait_until(lambda: not _group_lives(group), STOP_SECONDS_MAX, f"process group {group} did not end")

    @staticmethod
    def _signal_group(group: int, signal_number: int) -> None:
        try:
            os.killpg(group, signal_number)
        except ProcessLookupError:
            return  # all of it has ended already, which is what was wanted

    def _accepts(self, ready) -> bool:
        """True when ``ready()`` passes; ServerFailed when the process has ended instead."""
        if self._process.poll() is not None:
            raise ServerFailed(f"{self!r} ended with {self._process.returncode}: {self._console()}")
        try:
            return ready()
        except (OSError, amqp.AMQPError):
            return False  # it does not listen yet

    def _console(self) -> str:
        return (self.dir / "console.log").read_text(errors="replace")[-2000:]

    def __repr__(self):
        return f"<{type(self).__name__} on port {self.port}>"


def _group_lives(group: int) -> bool:
    """Whether a process of ``group`` still runs (a zombie that somebody else must reap does not count)."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = Path(stat).read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended between the listing and the reading
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


class RedisServer(_Server):
    """One redis-server that keeps nothing on disk."""

    def __init__(self):
        self._program = find_program("redis-server", (), "redis-server")
        super().__init__("redis")

    def start(self) -> None:
        self._process = self._spawn(
            [
                self._program,
                "--port",
                str(self.port),
                "--bind",
                self.host,
                "--dir",
                str(self.dir),
                "--save",
                "",
                "--appendonly",
                "no",
                "--daemonize",
                "no",
            ]
        )
        wait_until(lambda: self._accepts(self._ping), START_SECONDS_MAX, f"{self!r} did not start")

    def url(self, database: int = 0) -> str:
        return f"redis://{self.host}:{self.port}/{database}"

    def _ping(self) -> bool:
        with socket.create_connection((self.host, self.port), timeout=1) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")


class RabbitServer(_Server):
    """One RabbitMQ node with its own name, data, cookie, distribution port and epmd; with a ``peer``, which is to be
    started before, it joins that one's cluster and shares its cookie and epmd.

    ``settings`` are further lines of its rabbitmq.conf.
    ``user`` and ``password`` are its administrator. Nothing but loopback is listened on. Where openssl is
    installed it also takes TLS on ``tls_port``, with the certificate ``ca_file``, which is its own authority.
    """

    def __init__(self, peer: "RabbitServer | None" = None, settings: tuple[str, ...] = ()):
        self._scripts = os.path.dirname(find_program("rabbitmq-server", (RABBIT_SCRIPTS,), "rabbitmq-server"))
        self._epmd_program = find_program("epmd", EPMD_PLACES, "erlang-base")
        super().__init__("rabbit")
        self._peer, self._settings = peer, settings
        self.user, self.password = (peer.user, peer.password) if peer else ("nova", secrets.token_hex(8))
        self.node = f"nova_sched_test_{os.getpid()}_{self.port}@localhost"
        self._epmd: subprocess.Popen | None = None
        self.ca_file = self.dir / "cert.pem"
        self.tls_port = free_port() if self._make_certificate() else None
        self._env = self._write_config()

    def _make_certificate(self) -> bool:
        """Write a certificate for 127.0.0.1 and its key; False when there is no openssl to do so."""
        openssl = shutil.which("openssl")
        if openssl is None:
            return False
        subprocess.run(
            [
                openssl,
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                f"subjectAltName=IP:{self.host}",
                "-out",
                self.ca_file,
                "-keyout",
                self.dir / "key.pem",
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )
        return True

    def _write_config(self) -> dict[str, str]:
        """Write configuration and cookie; return the environment of the node and of rabbitmqctl."""
        cookie = self.dir / ".erlang.cookie"
        cookie.write_text((self._peer.dir / cookie.name).read_text() if self._peer else secrets.token_hex(16))
        cookie.chmod(0o400)
        (self.dir / "rabbitmq.conf").write_text(
            "\n".join(
                [
                    f"listeners.tcp.1 = {self.host}:{self.port}",
                    f"default_user = {self.user}",
                    f"default_pass = {self.password}",
                    "disk_free_limit.absolute = 50MB",
                    "log.console = false",
                    *self._settings,
                    *(
                        []
                        if self._peer is None
                        else [
                            "cluster_formation.peer_discovery_backend = classic_config",
                            f"cluster_formation.classic_config.nodes.1 = {self._peer.node}",
                            f"cluster_formation.classic_config.nodes.2 = {self.node}",
                        ]
                    ),
                    *(
                        []
                        if self.tls_port is None
                        else [
                            f"listeners.ssl.1 = {self.host}:{self.tls_port}",
                            f"ssl_options.cacertfile = {self.ca_file}",
                            f"ssl_options.certfile = {self.ca_file}",
                            f"ssl_options.keyfile = {self.dir / 'key.pem'}",
                            "ssl_options.verify = verify_none",
                        ]
                    ),
                    "",
                ]
            )
        )
        (self.dir / "rabbitmq-env.conf").write_text("")
        (self.dir / "enabled_plugins").write_text("[].\n")
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_", "NOTIFY_SOCKET"))
        }
        env |= {
            "HOME": str(self.dir),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_MNESIA_BASE": str(self.dir / "data"),
            "RABBITMQ_LOG_BASE": str(self.dir / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.dir / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(self.dir / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.dir / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.dir / "pid"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": self._peer._env["ERL_EPMD_PORT"] if self._peer else str(free_port()),
            "ERL_EPMD_ADDRESS": self.host,
        }
        return env

    def start(self) -> None:
        """Start the node, or start it again on the data it had; returns when it takes connections."""
        if self._epmd is None and self._peer is None:
            # Ours, in the foreground: the one that Erlang starts by itself outlives the node.
            self._epmd = self._spawn(
                [self._epmd_program, "-port", self._env["ERL_EPMD_PORT"], "-address", self.host], self._env
            )
        self._process = self._spawn([f"{self._scripts}/rabbitmq-server"], self._env)
        wait_until(lambda: self._accepts(self._handshake), START_SECONDS_MAX, f"{self!r} did not start")

    @contextlib.contextmanager
    def losing_its_tail(self):
        """A power cut after which the node has lost all that was confirmed within the block: its data are those from
        before. It is stopped and started before the block and behind it."""
        data, before = self.dir / "data", self.dir / "before"
        self.stop()
        shutil.copytree(data, before)
        self.start()
        yield
        self.kill()
        shutil.rmtree(data)
        before.rename(data)
        self.start()

    def close(self) -> None:
        super().close()
        self._end(self._epmd, signal.SIGKILL)
        self._epmd = None

    def url(self, stream: str = "", vhost: str = "/", user: str = "", password: str = "", **options: str) -> str:
        """URL of a log on this server; without ``stream`` that of the server, as oslo.messaging takes it."""
        user, password = user or self.user, password or self.password
        if stream:
            options = {"stream": stream} | options
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        return (
            f"rabbit://{quote(user, safe='')}:{quote(password, safe='')}@{self.host}:{self.port}"
            f"/{'' if vhost == '/' else quote(vhost, safe='')}{'?' + query if query else ''}"
        )

    def rabbitmqctl(self, *args: str) -> str:
        """Run rabbitmqctl against this node and return its output; ServerFailed when it fails."""
        return self._control("rabbitmqctl", *args)

    def rabbitmq_streams(self, *args: str) -> str:
        """The same with rabbitmq-streams."""
        return self._control("rabbitmq-streams", *args)

    def _control(self, program: str, *args: str) -> str:
        done = subprocess.run(
            [f"{self._scripts}/{program}", "--quiet", "-n", self.node, *args],
            env=self._env,
            cwd=self.dir,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
        )
        if done.returncode:
            shown = re.sub(r"\s+", " ", done.stderr + done.stdout)[-1000:]
            raise ServerFailed(f"{program} {args[0]} ended with {done.returncode}: {shown}")
        return done.stdout

    def add_user(
        self, name: str, password: str, configure: str = "", write: str = "", read: str = "", vhost: str = "/"
    ) -> None:
        """Add a user whose permissions in ``vhost`` are these three patterns ("" matches nothing)."""
        self.add_vhost(vhost, {name: (password, configure, write, read)})

    def add_vhost(self, vhost: str, users: dict[str, tuple[str, str, str, str]] | None = None) -> None:
        """Add a vhost, where it is not there, in which our user may do anything, and further users, each with a
        password and three patterns. All of it in one call, as each takes a second or more."""
        users = users or {}
        patterns = {self.user: (".*",) * 3} | {name: patterns for name, (_, *patterns) in users.items()}
        path = self.dir / f"definitions-{secrets.token_hex(4)}.json"
        path.write_text(
            json.dumps(
                {
                    "vhosts": [{"name": vhost}],
                    "users": [
                        {"name": name, "password": password, "tags": ""} for name, (password, *_) in users.items()
                    ],
                    "permissions": [
                        {"user": name, "vhost": vhost, "configure": configure, "write": write, "read": read}
                        for name, (configure, write, read) in patterns.items()
                    ],
                }
            )
        )
        self.rabbitmqctl("import_definitions", str(path))

    def _handshake(self) -> bool:
        with amqp.Connection(f"{self.host}:{self.port}", self.user, self.password, connect_timeout=2):
            return True


class RabbitCluster:
    """RabbitMQ nodes in one cluster, over all of which a stream is replicated; a context manager.

    ``nodes`` may be killed and started again one by one.
    """

    def __init__(self, size: int = 3, settings: tuple[str, ...] = ()):
        first = RabbitServer(settings=settings)
        self.nodes = [first, *(RabbitServer(first, settings) for _ in range(size - 1))]

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            # The first one last: it has the epmd of all.
            for node in self.nodes:
                stack.callback(node.close)
            self.nodes[0].start()
            start_all(self.nodes[1:])
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def url(self, stream: str, first: RabbitServer | None = None) -> str:
        """URL of a log on this cluster, with all of its nodes; ``first`` is the one that is tried first."""
        nodes = sorted(self.nodes, key=lambda node: node is not first)
        return nodes[0].url(stream).replace(self._place(nodes[0]), ",".join(map(self._place, nodes)))

    @property
    def transport_url(self) -> str:
        """Its URL with all of its nodes, as oslo.messaging takes it."""
        return "rabbit://{}/".format(
            ",".join(f"{node.user}:{node.password}@{self._place(node)}" for node in self.nodes)
        )

    def leader(self, stream: str) -> RabbitServer:
        """The node that leads a stream now; ServerFailed when there is none for long."""

        def look():
            asked = next(node for node in self.nodes if node.runs)
            return dict(self._leaders(asked)).get(stream)

        name = wait_until(look, START_SECONDS_MAX, f"the stream {stream} has no leader")
        return next(node for node in self.nodes if node.node == name)

    def followers(self, stream: str) -> list[RabbitServer]:
        """The other nodes."""
        leader = self.leader(stream)
        return [node for node in self.nodes if node is not leader]

    def wait_replicated(self, stream: str) -> None:
        """Wait until every node has a replica that runs."""
        wanted = {node.node for node in self.nodes}
        wait_until(lambda: self._online(stream) == wanted, START_SECONDS_MAX, f"{stream} is not on all nodes")

    def _online(self, stream):
        listed = json.loads(self.nodes[0].rabbitmqctl("list_queues", "name", "online", "--formatter", "json"))
        return next((set(one["online"]) for one in listed if one["name"] == stream), set())

    @staticmethod
    def _leaders(node):
        listed = json.loads(node.rabbitmqctl("list_queues", "name", "leader", "--formatter", "json"))
        return [(one["name"], one["leader"]) for one in listed]

    @staticmethod
    def _place(node):
        return f"{node.host}:{node.port}"


def start_all(nodes) -> None:
    """Start nodes side by side: one that was killed may wait for another to come back."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: node.start(), nodes))
