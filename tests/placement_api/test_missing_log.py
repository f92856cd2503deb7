"""A log that was not created yet: a worker waits for it, serves the others, and never begins it itself."""

import pytest

from nova_sched.projection.projection import SET_ASIDE
from placement_api.http_errors import Unavailable
from rpc_api import errors, events
from rpc_api.log import open_log
from tests.placement_api.client import client_of
from tests.placement_api.regions import WHO, prepare, uuid_of, workers
from tests.servers import wait_until

P1 = uuid_of("p1")
CREATE = r"create the log .*\(nova-sched create-log\)"


@pytest.fixture
def cell1(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url, "cell1")
    with workers({"cell1": url}, count=1) as (one,):
        client_of(one).provider("p1", P1, VCPU=4)
    return url


def check_waits(cell1, url, operators=None):
    """A region whose second log is missing: it serves the first one, says what to do, and reads the other one as soon
    as it is created, with the URL of ``operators`` if ours may not do so."""
    with workers({"cell1": cell1, "cell2": url}, count=1) as (region,):
        client, log = client_of(region), region.logs["cell2"]
        assert client.do("GET", f"/resource_providers/{P1}")["name"] == "p1"
        assert "create-log" in log.why_down
        with pytest.raises(errors.LogUnavailable):
            open_log(url, create=False).bounds()
        wait_until(lambda: "create-log" in log.refusal, 30, "the reason why it takes no writes does not say what to do")
        with pytest.raises(Unavailable, match="takes no writes now"):
            log.write(events.TraitCreated("CUSTOM_A", *WHO))
        prepare(operators or url, "cell2")
        wait_until(lambda: log.refusal is None, 30, "the log takes no writes")
        assert log.write(events.TraitCreated("CUSTOM_A", *WHO)).reason is None
        assert not log.projection.counts[SET_ASIDE]


def test_a_file(cell1, tmp_path):
    check_waits(cell1, f"sqlite:///{tmp_path}/cell2.db")


@pytest.mark.rabbit
@pytest.mark.parametrize("configure", ["", ".*"], ids=["of an account that may not create it", "of one that may"])
def test_a_stream(cell1, rabbit_server, configure):
    name = f"missing-{len(configure)}"
    rabbit_server.add_user(name, "secret", configure, ".*", ".*")
    stream = f"nova_sched.{name}"
    check_waits(cell1, rabbit_server.url(stream, user=name, password="secret"), rabbit_server.url(stream))


def test_an_empty_one(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    with (
        open_log(url) as log,
        pytest.raises(errors.LogUnavailable, match=f"is not folded within .* is empty, and placement/.* {CREATE}"),
        workers({"cell1": url}, count=1, timeout=0.5),
    ):
        pass
    with open_log(url) as log:
        assert not log.bounds().count
