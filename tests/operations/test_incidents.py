"""Three incidents, found by the alerts on metrics that a real Prometheus scrapes, and solved by the runbooks alone."""

import contextlib
import json
import uuid
from collections import Counter

import pytest
from oslo_config import cfg

from rpc_api.bus import MessagingBus
from rpc_api.contracts.scheduler import SchedulerAPI
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.context import RequestContext
from tests.builders import request_spec
from tests.conftest import running
from tests.end_to_end.processes import config_text
from tests.faults.load import SELECTED, Cloud, Load, audit
from tests.operations.following import follow
from tests.operations.prometheus import Prometheus
from tests.operations.runbooks import FOLDER, OVER, TYPED
from tests.operations.shell import Shell
from tests.servers import RabbitServer, free_port, wait_until

pytestmark = [pytest.mark.rabbit, pytest.mark.long, pytest.mark.timeout(1200)]

SECONDS_MAX = 240.0
ANSWER_SECONDS_MAX = 60.0
JOBS = {"scheduler": "nova-sched-scheduler", "conductor": "nova-sched-conductor", "agent": "nova-sched-agent"}


class MonitoredCloud(Cloud):
    """A cloud under load, each process with a port for its metrics. ``hosts_of`` is agent -> number of its hosts: an
    agent is a rack."""

    def __init__(self, directory, *arguments, hosts_of=None, **options):
        super().__init__(directory, *arguments, **options)
        self.hosts_of = hosts_of or {}
        for name in self.hosts_of:
            self._commands.setdefault(name, ("agent", (), ()))
        self.ports = {name: free_port() for name in self.names}

    def _sections(self, name):
        sections = super()._sections(name)
        sections["monitoring"] = {"enabled": "true", "port": self.ports[name]}
        if name in self.hosts_of:
            sections["compute_agent"]["simulated_hosts"] = self.hosts_of[name]
        return sections

    def prometheus(self):
        """A Prometheus for all processes."""
        targets = {job: [] for job in JOBS.values()}
        for name, port in self.ports.items():
            targets[JOBS[self._commands[name][0]]].append(port)
        return Prometheus(self._directory / "prometheus", targets)

    def shell(self, server, cell, words=None):
        """A shell of an operator, for whom the cell of the pages is ``cell``."""
        schedulers = tuple(name for name in self.names if name.startswith("scheduler"))
        units = {
            "nova-sched-scheduler": schedulers,
            "nova-sched-conductor": tuple(name for name in self.names if name.startswith("api")),
            f"nova-sched-conductor@{cell}": tuple(
                name for name in self.names if name.startswith("conductor") and name.endswith(cell)
            ),
            "nova-sched-agent": tuple(name for name in self.names if name.startswith("agent")),
        }
        words = {"cell1": cell, "VHOST": "/", **(words or {})}
        return Shell(
            self, self._directory / "scheduler-1.conf", server, words, units, {9774: self.ports["scheduler-1"]}
        )

    def change(self, **sections):
        """Roll another configuration out to the schedulers; a reload makes it count."""
        self._options["changes"].update(sections)
        for name in self.names:
            if name.startswith("scheduler"):
                (self._directory / f"{name}.conf").write_text(config_text(self._sections(name)))


def page(name):
    return FOLDER / f"{name}.md"


# --- a cell's broker dies --------------------------------------------------------------------------------------------


def test_the_broker_of_a_cell_dies(tmp_path):
    with contextlib.ExitStack() as stack:
        brokers = {}
        for name in ("cell0", "cell1", "cell2"):
            starting = running(RabbitServer)
            brokers[name] = next(starting)
            stack.callback(starting.close)
        cloud = stack.enter_context(
            MonitoredCloud(
                tmp_path,
                brokers["cell0"].url(),
                lambda name: brokers[name].url(name),
                cells=("cell1", "cell2"),
                vcpus=1024,
                cell_transport_urls={name: brokers[name].url() for name in ("cell1", "cell2")},
                scheduler={"cell_down_after": 3},
                conductor={"claim_ttl": 1200},
            )
        )
        prometheus = stack.enter_context(cloud.prometheus())
        load = stack.enter_context(Load(cloud, rate=5.0))
        shell = cloud.shell(brokers["cell2"], "cell2")
        load.wait_selected(20)
        brokers["cell2"].kill()
        # Found: the alert that names the cell leads to a page, and the page to the incident.
        alert = prometheus.wait_firing("NovaSchedCellClosed", SECONDS_MAX, cell="cell2")
        assert alert.summary == "no scheduler places instances in cell2"
        prometheus.wait_firing("NovaSchedLogUnreadable", SECONDS_MAX, cell="cell2")
        follow(shell, page("NovaSchedCellClosed"), TYPED)
        # Solved.
        follow(shell, page("incident-cell-broker-down"), TYPED, OVER)
        follow(shell, page("NovaSchedCellClosed"), OVER)
        for name in ("NovaSchedCellClosed", "NovaSchedLogUnreadable"):
            prometheus.wait_over(name, SECONDS_MAX)
        load.wait_selected(20)
        load.stop()
        assert audit(cloud, load).wrong() == []


# --- 40 hosts are lost -----------------------------------------------------------------------------------------------


def test_forty_hosts_are_lost(tmp_path, rabbit_server, vhost):
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(
            MonitoredCloud(
                tmp_path,
                rabbit_server.url(vhost=vhost),
                lambda name: rabbit_server.url(name, vhost),
                hosts_of={"agent.cell1": 60, "rack.cell1": 40},
                vcpus=1024,
                conductor={"service_down_time": 5, "claim_ttl": 1200},
            )
        )
        prometheus = stack.enter_context(cloud.prometheus())
        load = stack.enter_context(Load(cloud, rate=5.0))
        shell = cloud.shell(rabbit_server, "cell1", {"VHOST": vhost})
        load.wait_selected(20)
        cloud.kill("rack.cell1")
        alert = prometheus.wait_firing("NovaSchedManyHostsLost", SECONDS_MAX, cell="cell1")
        assert alert.summary == "40 hosts of cell1 are lost at once"
        follow(shell, page("NovaSchedManyHostsLost"), TYPED)
        load.wait_selected(20)
        # What the page says to look for: here the power of a rack, which comes back.
        cloud.start("rack.cell1")
        follow(shell, page("NovaSchedManyHostsLost"), OVER)
        prometheus.wait_over("NovaSchedManyHostsLost", SECONDS_MAX)
        load.wait_selected(20)
        load.stop()
        assert [request for request in load.requests if request.outcome != SELECTED] == []
        assert audit(cloud, load).wrong() == []


# --- a bad weigher is rolled out -------------------------------------------------------------------------------------

HOSTS, VCPUS = 12, 8
#: Full hosts first, so that others stay empty; and the other way round.
GOOD, BAD = -1.0, 1.0


def weighers(cpu):
    return {"cpu_weight_multiplier": cpu, "ram_weight_multiplier": 0.0, "disk_weight_multiplier": 0.0}


def adopted(shell):
    """Number of the digest, in the order of their first use -> schedulers whose last policy it is."""
    _, text = shell.run("nova-sched policy history -o ndjson")
    rows = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    numbers = {digest: number for number, digest in enumerate(dict.fromkeys(row["digest"] for row in rows), 1)}
    return Counter(numbers[digest] for digest in {row["service"]: row["digest"] for row in rows}.values())


def test_a_bad_weigher_is_rolled_out(tmp_path, rabbit_server, vhost):
    with contextlib.ExitStack() as stack:
        cloud = stack.enter_context(
            MonitoredCloud(
                tmp_path,
                rabbit_server.url(vhost=vhost),
                lambda name: rabbit_server.url(name, vhost),
                hosts=HOSTS,
                vcpus=VCPUS,
                conductor={"claim_ttl": 3600},
                filter_scheduler=weighers(GOOD),
            )
        )
        prometheus = stack.enter_context(cloud.prometheus())
        shell = cloud.shell(rabbit_server, "cell1", {"VHOST": vhost})
        if not cfg.CONF._args:
            cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
        bus = stack.enter_context(contextlib.closing(MessagingBus(cfg.CONF, rabbit_server.url(vhost=vhost))))
        api = SchedulerAPI(bus)

        def placed(vcpus):
            instance = str(uuid.uuid4())
            known = {"request_id": f"req-{instance}", "project_id": "p", "user_id": "u", "is_admin": True}
            context = RequestContext.from_dict(known)
            asked = api.select_destinations(context, request_spec(instance, vcpus=vcpus), [instance])
            try:
                return bool(asked.result(ANSWER_SECONDS_MAX))
            except NoValidHost:
                return False

        # Small servers share a host, and large ones find an empty one.
        assert all(placed(1) for _ in range(VCPUS)) and all(placed(VCPUS) for _ in range(3))
        # (What no scrape saw, no alert can compare with.)
        for expression, value in (
            ("count(nova_sched_scheduler_policy_info)", 2),
            ('sum(nova_sched_scheduler_requests_total{outcome="placed"})', VCPUS + 3),
        ):
            wait_until(
                lambda ask=expression, wanted=value: prometheus.value(ask) == wanted,
                SECONDS_MAX,
                f"{expression} is not scraped as {value}",
            )
        assert prometheus.firing() == []
        cloud.change(filter_scheduler=weighers(BAD))
        assert shell.run("systemctl reload nova-sched-scheduler").code == 0
        wait_until(lambda: adopted(shell) == {2: 2}, SECONDS_MAX, "the policy is not adopted")
        # Each small server takes an empty host, until no large one finds any.
        assert all(placed(1) for _ in range(HOSTS - 4))
        assert not placed(VCPUS)

        def fires():
            assert not placed(VCPUS)
            return "NovaSchedPolicyWorse" in {alert.name for alert in prometheus.firing()}

        wait_until(fires, SECONDS_MAX, "NovaSchedPolicyWorse does not fire")
        # Found: what changed, when, and what the old value would have done.
        follow(shell, page("NovaSchedPolicyWorse"), TYPED)
        follow(shell, page("incident-bad-weigher"), TYPED)
        code, text = shell.run("nova-sched-replay what-if --weigher CPUWeigher=-1.0 -o json")
        columns = json.loads(text[text.index("{") :])
        assert code == 0
        assert columns["what-if"]["placed"] > columns["recorded"]["placed"] == columns["re-run"]["placed"]
        # Solved: rolled back.
        cloud.change(filter_scheduler=weighers(GOOD))
        assert shell.run("systemctl reload nova-sched-scheduler").code == 0
        wait_until(lambda: adopted(shell) == {1: 2}, SECONDS_MAX, "the policy is not adopted")
        follow(shell, page("incident-bad-weigher"), OVER)
        assert all(placed(1) for _ in range(10))
        prometheus.wait_over("NovaSchedPolicyWorse", SECONDS_MAX)
