"""Four processes on a RabbitMQ, each with its own account and no permission beyond docs/operating/accounts.md,
over TLS."""

import re
import uuid

import pytest
from oslo_config import cfg

from nova_sched.cli.main import main
from rpc_api import codec, errors, events, messages
from rpc_api.bus import MessagingBus
from rpc_api.contracts.conductor import ConductorAPI
from rpc_api.log import open_log
from tests.builders import CONTEXT, request_spec
from tests.end_to_end.processes import ROOT, ServiceProcess, config_text, run, sections_for
from tests.end_to_end.test_end_to_end import folded
from tests.servers import wait_until

SECONDS_MAX = 60.0
STREAMS = {"cell0": "nova_sched.cell0", "cell1": "nova_sched.cell1"}
COMMANDS = {
    "scheduler": ("scheduler",),
    "conductor": ("conductor", "--level", "cell", "--cell", "cell1"),
    "api": ("conductor", "--level", "api"),
    "compute_agent": ("agent",),
}

pytestmark = pytest.mark.rabbit


def documented() -> dict:
    """Account -> its three patterns, as the tables of the document say."""
    text = (ROOT / "docs/operating/accounts.md").read_text().replace("\\|", "\0")
    rows = re.findall(
        r"^\| (?:`([a-z_]+)[^`]*`|(RPC of agents))[^|]* \| `(.*?)` \| `(.*?)` \| `(.*?)` \|$", text, re.MULTILINE
    )
    return {named or other: [pattern.replace("\0", "|") for pattern in patterns] for named, other, *patterns in rows}


class Site:
    """A vhost of the broker with its accounts; ``names``: role -> the account's name."""

    def __init__(self, server):
        self.server = server
        self.vhost = f"accounts-{uuid.uuid4().hex}"
        self.names = {
            "scheduler": "scheduler.sched",
            "conductor": "conductor.cond",
            "compute_agent": "compute_agent.host1-1",
            "operator": "operator",
            "replay": "replay",
            "RPC of agents": "rpc-of-agents",
            "other": "compute_agent.host2-1",
        }
        patterns = documented()
        server.add_vhost(
            self.vhost,
            {
                name: ("secret", *patterns["compute_agent" if role == "other" else role])
                for role, name in self.names.items()
            },
        )

    def close(self):
        self.server.rabbitmqctl("delete_vhost", self.vhost)

    def log(self, role, cell="cell1", tls=False):
        url = self.server.url(STREAMS[cell], self.vhost, self.names[role], "secret")
        return self._over_tls(url, "rabbits") + f"&ssl_ca_file={self.server.ca_file}" if tls else url

    def rpc(self, role=None):
        return self._over_tls(
            self.server.url(
                vhost=self.vhost, **({} if role is None else {"user": self.names[role], "password": "secret"})
            ),
            "rabbit",
        )

    def _over_tls(self, url, scheme):
        return url.replace("rabbit:", f"{scheme}:").replace(f":{self.server.port}", f":{self.server.tls_port}")

    def create_log(self, cell="cell1", *options):
        assert main(["create-log", cell, self.log("operator", cell), "--name", "test", *options]) == 0

    def append(self, role, data, producer):
        """Append one event with the account of a role."""
        with open_log(self.log(role)) as log:
            epoch = folded(self.log("replay")).epoch
            log.append([codec.encode_record(epoch, [codec.make_event(data, producer, 2**62, 1, 1)])])

    def config(self, directory, role):
        conductor = "conductor" if role == "api" else role
        owner = self.names[conductor if conductor in self.names else "conductor"]
        path = directory / f"{role}.conf"
        log_of = {cell: self.log(conductor, cell, tls=True) for cell in STREAMS}
        path.write_text(
            config_text(
                sections_for(
                    directory,
                    DEFAULT={"transport_url": self.rpc("RPC of agents" if role == "compute_agent" else None)},
                    oslo_messaging_rabbit={"ssl": "true", "ssl_ca_file": self.server.ca_file},
                    cells={"cell0_log": log_of["cell0"], "require_accounts": "true"},
                    cell_cell1={"log": log_of["cell1"]},
                    compute_agent={"host": "host1", "simulated_hosts": 1},
                    conductor={"name": owner.partition(".")[2]},
                    scheduler={"name": "sched"},
                )
            )
        )
        return path


@pytest.fixture(scope="module")
def site(rabbit_server):
    if rabbit_server.tls_port is None:
        pytest.skip("openssl is not installed; install the package openssl")
    site = Site(rabbit_server)
    yield site
    site.close()


def test_the_document_names_every_account():
    services = {"scheduler", "shadow", "placement", "conductor", "compute_agent"}
    assert set(documented()) == {*services, "operator", "replay", "RPC of agents"}


def test_services_with_their_own_accounts(tmp_path, site):
    for cell in STREAMS:
        site.create_log(cell)
    running = {}
    try:
        # The agent first: it can do nothing before the conductor tells it the epoch of the log.
        for role, (service, *arguments) in COMMANDS.items():
            running[role] = ServiceProcess(
                tmp_path, service, "--config-file", str(site.config(tmp_path, role)), *arguments
            )
        for process in running.values():
            process.wait_ready()
        wait_until(lambda: folded(site.log("replay")).accounts_required, SECONDS_MAX, "the log requires no accounts")
        assert built(site) == messages.BUILT
        hold_against_forgery(site)
        assert built(site) == messages.BUILT
        projection = folded(site.log("replay"))
        assert len(projection.hosts["host1-1"].entries) == 2 and projection.counts["set-aside"] == len(FORGED)
        for process in running.values():
            assert process.stop() == 0, process.stderr
            assert "secret" not in process.stderr
    finally:
        for process in running.values():
            process.__exit__()


def built(site):
    """Build one instance; the result."""
    if not cfg.CONF._args:
        cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
    bus = MessagingBus(cfg.CONF, site.server.url(vhost=site.vhost))
    try:
        one = str(uuid.uuid4())
        return (
            ConductorAPI(bus)
            .schedule_and_build_instances(CONTEXT, request_spec(one), [one])
            .result(SECONDS_MAX)[0]
            .outcome
        )
    finally:
        bus.close()


FORGED = [
    events.HostConfirmed("host1-1", 1),
    events.HostRemoved("host1-1", "mine now"),
    events.InstanceDeleted("host1-1", str(uuid.uuid4())),
]


def hold_against_forgery(site):
    """What one host's account says in the name of another changes nothing;
    what it may not do at all the broker refuses."""
    for data in FORGED:
        site.append("other", data, "compute_agent/host1-1")
    after = folded(site.log("replay"))
    assert after.counts["set-aside:not-its-account"] == len(FORGED)
    assert set(after.hosts) == {"host1-1"} and len(after.hosts["host1-1"].entries) == 1
    with pytest.raises(errors.LogForbidden, match="give the user 'compute_agent.host2-1' that permission"):
        open_log(site.log("other")).bounds()
    for role, cell in (("conductor", "cell0"), ("other", "cell0"), ("replay", "cell1")):
        with open_log(site.log(role, cell)) as log, pytest.raises(errors.LogForbidden):
            log.append([b"not mine"])


def test_the_broker_takes_no_message_in_another_ones_name(site):
    import amqp

    site.create_log()
    server = site.server
    with amqp.Connection(
        f"{server.host}:{server.port}", site.names["other"], "secret", virtual_host=site.vhost
    ) as connection:
        channel = connection.channel()
        with pytest.raises(amqp.PreconditionFailed, match="user_id property set to 'compute_agent.host1-1'"):
            channel.basic_publish(amqp.Message(b"x", user_id="compute_agent.host1-1"), STREAMS["cell1"])
            connection.drain_events(SECONDS_MAX)


def test_requiring_accounts_by_hand_and_taking_it_back(site):
    for option, required in (("--require-accounts", True), ("--allow-any-account", False)):
        site.create_log("cell0", option)
        assert folded(site.log("replay", "cell0")).accounts_required is required


def test_what_is_not_heard_is_said(site, capsys):
    site.create_log()
    capsys.readouterr()
    site.server.rabbitmqctl("set_permissions", "-p", site.vhost, site.names["other"], "", ".*", ".*")
    try:
        assert main(["create-log", "cell1", site.log("other"), "--name", "me", "--require-accounts"]) == 1
        assert "operator/me does not count" in capsys.readouterr().err
    finally:
        site.server.rabbitmqctl(
            "set_permissions", "-p", site.vhost, site.names["other"], *documented()["compute_agent"]
        )


def test_a_log_that_the_account_of_create_log_may_not_create(site, capsys, caplog):
    """It does not wait: nobody else creates it meanwhile."""
    url = site.server.url("nova_sched.cell9", site.vhost, site.names["scheduler"], "secret")
    assert main(["create-log", "cell9", url, "--name", "me", "--wait", "20"]) == 3
    assert "'scheduler.sched' may not create it" in capsys.readouterr().err
    assert "waits for the log" not in caplog.text


@pytest.mark.parametrize(
    "log, told",
    [
        ("sqlite:///{}/cell1.db", "with no account"),
        ("rabbit://nova:secret@127.0.0.1:1/?stream=x", "with the account nova"),
        ("rabbit://conductor.other:secret@127.0.0.1:1/?stream=x", "with the account conductor.other"),
    ],
)
def test_a_service_that_could_not_be_heard_does_not_start(tmp_path, log, told):
    path = tmp_path / "nova_sched.conf"
    path.write_text(
        config_text(
            sections_for(tmp_path, cells={"require_accounts": "true"}, cell_cell1={"log": log.format(tmp_path)})
        )
    )
    done = run("conductor", "--level", "cell", "--cell", "cell1", "--config-file", str(path))
    assert done.returncode == 2 and told in done.stderr and "wanted conductor.cond or conductor" in done.stderr
    assert "secret" not in done.stderr
