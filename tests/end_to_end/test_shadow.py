"""The process nova-sched-shadow: its options, its report, what the replay tool shows of it, and its stop."""

import json

import pytest

from nova_sched.cli.main import replay
from nova_sched.projection.state import CELL0
from nova_sched.scheduler.shadow.engine import LEVEL
from rpc_api import errors, events
from tests.builders import EPOCH
from tests.end_to_end.processes import ServiceProcess, config_text, run, sections_for
from tests.nova_sched.scheduler.shadow.messages import VM
from tests.nova_sched.scheduler.shadow.test_rabbit import HOST, RIGHTS, Nova, say, write_logs

pytestmark = pytest.mark.rabbit


@pytest.fixture
def nova(rabbit_server, vhost):
    nova = Nova(rabbit_server, vhost)
    rabbit_server.add_user("shadow", "secret", *RIGHTS, vhost=vhost)
    yield nova
    nova.close()


def config(tmp_path, server, vhost, **shadow):
    """The path of a configuration whose shadow has an account of its own on Nova's broker."""
    options = {"name": "s", "url": server.url(vhost=vhost, user="shadow", password="secret"), "choice_timeout": 2}
    path = tmp_path / "nova_sched.conf"
    path.write_text(config_text(sections_for(tmp_path, shadow=options | shadow)))
    return str(path)


def logs(tmp_path, *hosts):
    urls = [f"sqlite:///{tmp_path}/{cell}.db" for cell in (CELL0, "cell1")]
    write_logs(*urls, *hosts)
    return [f"{cell}={url}" for cell, url in zip((CELL0, "cell1"), urls, strict=True)]


def shown(capsys, named, *arguments):
    """The exit code and the output of the replay tool."""
    code = replay([*(word for each in named for word in ("--log", each)), *arguments])
    return code, capsys.readouterr().out


def test_a_shadow_beside_nova(tmp_path, rabbit_server, vhost, nova, capsys):
    named = logs(tmp_path, HOST, "other")
    path = config(tmp_path, rabbit_server, vhost)
    with ServiceProcess(tmp_path, "shadow", "--config-file", path) as shadow:
        shadow.wait_ready().wait_for("the shadow's reader of requests reads rabbit://shadow:")
        shadow.wait_for("the shadow's reader of builds in cell1 reads rabbit://shadow:")
        nova.publish("a forced host", "build")
        shadow.wait_for("only-nova")
        nova.publish("one instance")
        shadow.wait_for("only-ours")
        report = shadow.guru_report()
        assert "only-nova" in report and "secret" not in report
        assert shadow.stop() == 0
    assert "secret" not in shadow.stderr
    assert nova.read() == 3, "Nova has its own copies"

    code, text = shown(capsys, named, "shadow", "-o", "json")
    facts = json.loads(text)
    assert code == errors.EXIT_NEGATIVE and facts["instances"] == 2 and facts["shadows"] == {"shadow/s": 2}
    assert [(each["verdict"], each["cause"], each["part"]) for each in facts["shown"]] == [
        ("only-nova", "filter", "DestinationFilter"),
        ("only-ours", None, None),
    ]
    code, text = shown(capsys, named, "shadow")
    assert "only-nova  filter  DestinationFilter  " in text and f"{VM} only-nova (filter): Nova's host {HOST}" in text
    code, text = shown(capsys, named, "why-not", VM, HOST, "--attempt", "1")
    assert code == errors.EXIT_OK and f"{HOST}: " in text


def test_a_log_below_its_level_ends_the_start(tmp_path, rabbit_server, vhost, nova):
    for cell in (CELL0, "cell1"):
        say(f"sqlite:///{tmp_path}/{cell}.db", {}, (events.LogOpened(cell, EPOCH), "operator/o"), level=1)
    done = run("shadow", "--config-file", config(tmp_path, rabbit_server, vhost))
    assert done.returncode == errors.EXIT_USAGE
    assert f"is at level 1, a shadow needs {LEVEL}" in done.stderr and "pin the logs" in done.stderr


def test_a_shadow_that_could_see_no_choice_does_not_start(tmp_path, rabbit_server, vhost):
    logs(tmp_path)
    done = run("shadow", "--config-file", config(tmp_path, rabbit_server, vhost, read_builds="false"))
    assert done.returncode == errors.EXIT_USAGE and "nothing shows what Nova chooses" in done.stderr


def test_a_broker_that_is_not_rabbit(tmp_path, rabbit_server, vhost):
    logs(tmp_path)
    done = run("shadow", "--config-file", config(tmp_path, rabbit_server, vhost, url="fake://"))
    assert done.returncode == errors.EXIT_USAGE and "[shadow] needs RabbitMQ" in done.stderr


def test_missing_rights_are_named_and_nova_is_not_disturbed(tmp_path, rabbit_server, vhost, nova):
    rabbit_server.add_user("shadow", "secret", "", "", "", vhost=vhost)
    logs(tmp_path, HOST)
    with ServiceProcess(tmp_path, "shadow", "--config-file", config(tmp_path, rabbit_server, vhost)) as shadow:
        shadow.wait_ready().wait_for("give the user 'shadow' the rights of the shadow .*docs/operating/shadow.md")
        rabbit_server.add_user("shadow", "secret", *RIGHTS, vhost=vhost)
        shadow.wait_for("the shadow's reader of requests reads again")
        assert shadow.stop() == 0
