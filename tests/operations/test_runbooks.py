"""Each command of the runbooks is run, on a cloud of real services, and ends and prints as shown."""

import uuid

import pytest

from nova_sched.replay.logs.reading import records_of
from tests.conductor.tap.test_rabbit import Nova
from tests.conftest import running
from tests.end_to_end.monitored import SERVICES, Cloud, do_a_little_of_everything
from tests.operations.following import follow
from tests.operations.runbooks import FOLDER, OVER, PAGES, SECTIONS, TYPED, sections_of, steps_of
from tests.operations.shell import Shell
from tests.servers import RabbitServer

pytestmark = [pytest.mark.rabbit, pytest.mark.timeout(600)]

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
            conductor={"service_down_time": 4},
            compute_agent={"report_interval": 0.5},
            scheduler={"cell_down_after": 2},
        )
        self.nova = Nova(server, self.vhost)
        server.add_user("agent-7", "secret", write=".*", vhost=self.vhost)
        addresses = {number: self.cloud.ports[name] for number, name in PORTS.items()}
        self.shell = Shell(
            self.cloud,
            self.cloud._config,
            server,
            {"VHOST": self.vhost, "USER": "agent-7"},
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


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_a_page(site, path):
    follow(site.shell, path, TYPED, OVER)
