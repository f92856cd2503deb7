"""A cloud with two of each service, workers of the Placement API too, and a load of API requests."""

import http.client
import json
import threading
import time
import uuid

from rpc_api.feed.epoch import open_at_level
from rpc_api.log import open_log
from tests.end_to_end.processes import MODULES, PRESENT
from tests.faults.load import Cloud
from tests.placement_api.client import HEADERS
from tests.servers import free_port, wait_until

#: Unit of systemd -> the processes that it names, one on each of two machines.
UNITS = {
    "nova-sched-conductor": ("api-1", "api-2"),
    "nova-sched-conductor@cell1": ("conductor-1.cell1", "conductor-2.cell1"),
    "nova-sched-scheduler": ("scheduler-1", "scheduler-2"),
    "nova-sched-placement@1": ("placement-1",),
    "nova-sched-placement@2": ("placement-2",),
    "nova-sched-agent": ("agent.cell1", "agent-2.cell1"),
}
NEW = PRESENT._replace(modules={**MODULES, "placement": "placement_api.main"})
ANSWER_SECONDS_MAX = 60.0
PAUSE = 0.2


class LoadedCloud(Cloud):
    """Two of each service of one cell, on logs of a level. Without ``with_api`` no worker of the Placement API runs:
    the release before does not have it."""

    def __init__(self, directory, rabbit, vhost, release, level, with_api):
        self.api_port = free_port()
        super().__init__(
            directory,
            rabbit.url(vhost=vhost),
            lambda name: rabbit.url(f"nova_sched.{name}", vhost),
            conductors=2,
            api_conductors=2,
            vcpus=1024,
            checkpoints={"interval": 60},
            placement_api={
                "auth_strategy": "noauth2",
                "bind_host": "127.0.0.1",
                "bind_port": self.api_port,
                "state_dir": directory / "shared",
            },
        )
        self._commands["agent-2.cell1"] = ("agent", (), ())
        if with_api:
            self._commands |= {f"placement-{number}": ("placement", (), ()) for number in (1, 2)}
        self.releases = dict.fromkeys(self.names, release)
        if level > 1:
            # As create-log of that release does.
            for cell, url in self.logs.items():
                with open_log(url) as log:
                    open_at_level(log, cell, "operator/test", level)

    def replace(self, name, release, between):
        """Start a process again as another release; ``between()`` waits until the others served requests."""
        between()
        self.stop(name)
        self.releases[name] = release
        self.start(name)


class ApiLoad:
    """Writes an allocation and reads it, again and again, each on a connection of its own; a context manager."""

    def __init__(self, port):
        self.port = port
        #: (What was asked, what came) of each request that failed.
        self.failed = []
        #: Consumer -> amount, of all writes that were answered.
        self.written = {}
        self.provider = str(uuid.uuid4())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api load", daemon=True)

    def __enter__(self):
        wait_until(self._prepared, ANSWER_SECONDS_MAX, "the Placement API takes no writes")
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def stop(self):
        """Ask no more."""
        self._stop.set()
        self._thread.join(ANSWER_SECONDS_MAX)

    def wait_written(self, count):
        """Wait until so many more writes were answered."""
        wanted = len(self.written) + count
        wait_until(lambda: len(self.written) >= wanted or self.failed, ANSWER_SECONDS_MAX, "no write is answered")

    def lost(self):
        """The consumers that do not have what was acknowledged."""
        return [
            consumer
            for consumer, amount in self.written.items()
            if self.ask("GET", f"/allocations/{consumer}")[1]["allocations"].get(self.provider, {}).get("resources")
            != {"CUSTOM_GOLD": amount}
        ]

    def ask(self, method, path, body=None):
        """(Status, body) of an answer; OSError without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS_MAX)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {**HEADERS, "Content-Type": "application/json"})
            answer = connection.getresponse()
            found = answer.read()
            return answer.status, json.loads(found) if found else None
        except http.client.HTTPException as fault:
            raise OSError(repr(fault)) from None
        finally:
            connection.close()

    def _prepared(self):
        try:
            if self.ask("PUT", "/resource_classes/CUSTOM_GOLD")[0] not in (201, 204):
                return False
            self.ask("POST", "/resource_providers", {"name": self.provider, "uuid": self.provider})
            inventory = {"total": 10**6, "max_unit": 10**6}
            found = {"resource_provider_generation": 0, "inventories": {"CUSTOM_GOLD": inventory}}
            return self.ask("PUT", f"/resource_providers/{self.provider}/inventories", found)[0] in (200, 409)
        except OSError:
            return False

    def _run(self):
        number = 0
        while not self._stop.wait(PAUSE):
            number += 1
            self._once(str(uuid.uuid4()), 1 + number % 9)

    def _once(self, consumer, amount):
        body = {
            "allocations": {self.provider: {"resources": {"CUSTOM_GOLD": amount}}},
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
            "project_id": "project",
            "user_id": "user",
        }
        path = f"/allocations/{consumer}"
        asked_at = time.monotonic()
        for method, data, wanted in (("PUT", body, 204), ("GET", None, 200)):
            try:
                status, found = self.ask(method, path, data)
            except OSError as fault:
                status, found = None, fault
            if status != wanted:
                self.failed.append((f"{method} {path} after {time.monotonic() - asked_at:.1f} s", status, found))
                return
        self.written[consumer] = amount
