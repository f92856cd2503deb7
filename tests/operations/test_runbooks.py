"""Each command of the runbooks is run, on a cloud of real services in a private RabbitMQ, and ends and prints as shown."""

import re
import time
import uuid

import pytest

from nova_sched.replay.logs.reading import records_of
from tests.conductor.tap.test_rabbit import Nova
from tests.conftest import running
from tests.end_to_end.monitored import SERVICES, Cloud, do_a_little_of_everything
from tests.operations import runbooks
from tests.operations.runbooks import FOLDER, OVER, PAGES, SECTIONS, TYPED, difference, sections_of, steps_of
from tests.operations.shell import Shell
from tests.servers import POLL_SECONDS, RabbitServer

pytestmark = [pytest.mark.rabbit, pytest.mark.timeout(600)]

SECONDS_MAX = 10.0
#: Commands that end with 1 while something is wrong, and the check of upgrades, which ends with 2.
MAY_FIND = re.compile(
    r"nova-sched-replay (doctor|check|quarantine|stats|replay)|nova-sched (service list|policy history|host list|conflicts)"
    r"|nova-sched-status|systemctl status|.*\| grep"
)
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
        self.shell = Shell(self.cloud, server, {"VHOST": self.vhost, "USER": "agent-7"})

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


def carried_out(site, step):
    """None if a command ended and printed as its page has it; else what is different."""
    code, printed = site.shell.run(step.command)
    allowed = {0, *({1, 2} if step.section == TYPED and MAY_FIND.match(step.command) else set())}
    if step.code is not None:
        allowed = {step.code}
    if code not in allowed:
        return f"$ {step.command}\nends with {code}, wanted {sorted(allowed)}: {printed}"
    different = difference(step.shown, printed)
    return different and f"$ {step.command}\n{different}\nin {printed}"


def follow(site, path, *sections):
    for step in steps_of(path):
        if step.section in sections:
            deadline = time.monotonic() + (SECONDS_MAX if step.section == OVER else 0)
            # (What heals takes a moment.)
            while (wrong := carried_out(site, step)) is not None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            assert wrong is None, wrong


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_the_commands_of_a_page(site, path):
    follow(site, path, TYPED, OVER)


assert runbooks.ROOT
