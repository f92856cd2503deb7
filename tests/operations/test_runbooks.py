"""Each command of the runbooks is run, on a cloud of real services, and ends and prints as shown."""

import itertools
import re
import uuid

import pytest

from nova_sched.replay.logs.reading import records_of
from rpc_api import codec, events
from rpc_api.clock import SYSTEM
from rpc_api.feed.epoch import opening_of
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.conductor.tap.test_rabbit import Nova
from tests.conftest import running
from tests.end_to_end.monitored import SERVICES, Cloud, do_a_little_of_everything
from tests.operations.following import follow
from tests.operations.runbooks import FOLDER, OVER, PAGES, ROOT, SECTIONS, TYPED, sections_of, steps_of
from tests.operations.shell import Shell
from tests.servers import RabbitServer, wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.timeout(600)]

SECONDS_MAX = 60.0
#: Events of a flood, and how many of them are in a record.
FLOOD, RECORD = 60_000, 500
#: Unit -> the processes of the cloud.
UNITS = {
    "nova-sched-scheduler": ("scheduler",),
    "nova-sched-conductor": ("api",),
    "nova-sched-conductor@cell1": ("cell",),
    "nova-sched-agent": ("agent",),
    "nova-sched-placement@1": ("placement",),
    "nova-sched-placement@2": ("placement-2",),
    "nova-sched-placement@*": ("placement",),
}
#: Port in the pages -> the process that has it for its metrics.
PORTS = {9774: "scheduler", 9775: "api", 9776: "cell", 9777: "agent", 9778: "placement"}
API_PORT = 8778
SERVICES_HERE = {**SERVICES, "placement-2": ("placement",)}


class Site:
    """A cloud, its shell, and what was done in it."""

    def __init__(self, directory, server):
        self.server = server
        self.vhost = f"operations-{uuid.uuid4()}"
        server.add_vhost(self.vhost)
        self.cloud = Cloud(
            directory,
            server,
            self.vhost,
            services=SERVICES_HERE,
            notifies=False,
            conductor={"service_down_time": 15},
            compute_agent={"report_interval": 0.5},
            scheduler={"cell_down_after": 2},
        )
        self.nova = Nova(server, self.vhost)
        server.add_user("agent-7", "secret", write=".*", vhost=self.vhost)
        addresses = {number: self.cloud.ports[name] for number, name in PORTS.items()}
        snapshots = f"file://{directory}/snapshots"
        self.shell = Shell(
            self.cloud,
            self.cloud._config,
            server,
            {"VHOST": self.vhost, "USER": "agent-7", "LIMIT": "50MB", "SNAPSHOTS": snapshots},
            UNITS,
            {API_PORT: self.cloud.api_port, **addresses},
        )

    def start(self):
        """Start all services, and let each do a little."""
        self.cloud.start(*SERVICES)
        do_a_little_of_everything(self.cloud, self.server, self.vhost, self.nova)
        decided = [
            event.data
            for _, record in records_of(self.cloud.logs["cell0"])
            for event in record.events
            if event.name == "DecisionMade"
        ]
        refused = next(data.instance_uuid for data in decided if data.outcome == "no_valid_host")
        self.shell.words |= {"CELL1_LOG": self.cloud.log, "INSTANCE": refused, "COMPUTE": "sim-0"}

    def repair(self):
        """Start what does not run, whatever a test left."""
        if not self.server.runs:
            self.server.start()
        for name in SERVICES:
            process = self.cloud.running.get(name)
            if process is not None and process.process.poll() is not None:
                self.cloud.running.pop(name).__exit__(None, None, None)
            if name not in self.cloud.running:
                self.cloud.start(name)

    def close(self):
        self.cloud.close()
        self.nova.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for server in running(RabbitServer):
        site = Site(tmp_path_factory.mktemp("operations"), server)
        try:
            site.start()
            yield site
        finally:
            site.close()


# --- the form of the pages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_has_its_form(path):
    assert tuple(sections_of(path)) == SECTIONS
    steps = steps_of(path)
    assert {step.section for step in steps} == {TYPED, OVER}
    assert len(path.read_text().splitlines()) <= 60, "runbooks are short"
    index = (FOLDER / "index.md").read_text()
    assert f"]({path.name}) |" in index and f"\n{path.stem}\n" in index


# --- the commands ----------------------------------------------------------------------------------------------------


def hosts_are_lost(site):
    """The agent of all hosts ends."""
    site.cloud.stop("agent")
    wait_until(
        lambda: site.cloud.value("cell", "nova_sched_hosts", cell="cell1", status="lost") == 3,
        SECONDS_MAX,
        "no host is lost",
    )


def power_is_back(site):
    site.cloud.start("agent")


def scheduler_is_killed(site):
    site.cloud.running["scheduler"].process.kill()
    site.cloud.running["scheduler"].process.wait(SECONDS_MAX)


def broker_is_killed(site):
    site.server.kill()
    wait_until(
        lambda: site.cloud.value("scheduler", "nova_sched_scheduler_cell_open", cell="cell1") == 0,
        SECONDS_MAX,
        "the cell is not closed",
    )


def disk_alarm(site):
    site.server.rabbitmqctl("set_disk_free_limit", "100000GB")


def log_is_flooded(site):
    """One agent wrote 60,000 events within a second."""
    with open_log(site.cloud.log) as log:
        opening, now = opening_of(log), SYSTEM.now_ns()
        sequence = itertools.count(1)
        for _ in range(FLOOD // RECORD):
            data = events.HostSeen("nowhere")
            told = [codec.make_event(data, "compute_agent/flood", now, next(sequence), now) for _ in range(RECORD)]
            log.append([codec.encode_record(opening.epoch, told, LEVEL)])


#: Page -> (what happened, what becomes right by itself between its commands and its end).
STATES = {
    "NovaSchedHostsLost": (hosts_are_lost, None),
    "NovaSchedManyHostsLost": (hosts_are_lost, power_is_back),
    "NovaSchedServiceDown": (scheduler_is_killed, None),
    "incident-service-killed": (scheduler_is_killed, None),
    "incident-broker-down": (broker_is_killed, None),
    "incident-cell-broker-down": (broker_is_killed, None),
    "incident-broker-alarm": (disk_alarm, None),
    "incident-log-flooded": (log_is_flooded, None),
}
#: All pages. The flood comes last, because doctor sees it in the end of the log from then on.
ORDER = sorted(PAGES, key=lambda path: path.stem == "incident-log-flooded")
#: Pages whose commands "make test" types; those of the others take minutes.
SHORT = ("NovaSchedServiceDown", "NovaSchedNotReady", "NovaSchedHostsLost", "NovaSchedNoValidHost")


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=() if path.stem in SHORT else pytest.mark.long, id=path.stem) for path in ORDER]
)
def test_the_commands_of_a_page(site, path):
    happens, heals = STATES.get(path.stem, (None, None))
    try:
        if happens is not None:
            happens(site)
        follow(site.shell, path, TYPED)
        if heals is not None:
            heals(site)
        follow(site.shell, path, OVER)
    finally:
        site.repair()


def test_each_state_is_of_a_page():
    assert {*STATES, *SHORT} <= {path.stem for path in PAGES}


def test_every_fault_that_was_tried_is_in_the_index():
    page = (ROOT / "docs" / "reliability" / "README.md").read_text()
    reliability = page.partition("## Broker faults under load")[2].partition("## Faults found from outside")[0]
    tried = set(re.findall(r"\| `(test_\w+\.py::test_\w+)", reliability))
    assert len(tried) > 15
    index = (FOLDER / "index.md").read_text()
    files = set(re.findall(r"tests/faults/(test_\w+\.py)", reliability))
    assert len(files) > 4
    assert not {test for test in tried | files if f"`{test}" not in index}
