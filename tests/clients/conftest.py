"""The API behind its web server, a Keystone beside it, and the environments of the clients.

``NOVA_SCHED_CLIENTS`` names the folder that ``make clients-setup`` makes, with one environment for each client. Where
one is missing its tests are skipped, and fail in CI.
"""

import os
import pathlib

import pytest

from placement_api.app import make_app
from placement_api.region import Region
from tests.against_nova.conftest import Peer
from tests.against_nova.ledger_answers import state_of
from tests.placement_api.client import Client, client_of, config_of
from tests.placement_api.keystone import PASSWORD, REGION, SERVICE_TOKEN, Keystone
from tests.placement_api.server import Server
from tests.placement_api.test_tokens import configured

HERE = pathlib.Path(__file__).parent
CLIENTS = "NOVA_SCHED_CLIENTS"


class Cloud:
    """An empty Placement with Keystone, and what a client needs to know of them."""

    def __init__(self, folder):
        self.region = Region.in_memory()
        self.keystone = Keystone({})
        self.server = Server(make_app(configured(folder, self.keystone.url), self.region))
        self.keystone.services["placement"] = self.server.url
        #: Beside the client under test: the API without a token.
        self.client = client_of(self.region)

    @property
    def facts(self):
        """How to reach it."""
        return {
            "auth_url": f"{self.keystone.url}/v3",
            "password": PASSWORD,
            "region": REGION,
            "url": self.server.url,
            "token": SERVICE_TOKEN,
        }

    def state(self):
        """All that clients can read."""
        (projection,) = self.region.projections()
        with self.region.lock:
            return state_of(projection)

    def close(self):
        self.server.close()
        self.keystone.close()
        self.region.close()


@pytest.fixture
def cloud(tmp_path):
    found = Cloud(tmp_path)
    yield found
    found.close()


@pytest.fixture
def open_url(cloud):
    """The address of the API over the same log without Keystone."""
    server = Server(Client(make_app(config_of(), cloud.region)).app)
    yield server.url
    server.close()


def client_python(name):
    """The interpreter of the environment of a client; without one the test is skipped, and fails in CI."""
    folder = os.environ.get(CLIENTS)
    python = pathlib.Path(folder or "-") / name / "bin" / "python"
    if python.exists():
        return str(python)
    missing = f"{CLIENTS} is {folder!r}, which has no {name}/bin/python; make clients-setup makes it"
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def running(python, script):
    """A process that runs a script of this folder, for as long as a fixture lasts."""
    peer = Peer(python, HERE / script)
    yield peer
    peer.close()


def asked(peer, facts):
    """A client that knows how to reach a cloud: name of a function of its script, arguments -> its answer."""

    def ask(name, *arguments):
        found = peer.ask(name, *arguments)
        assert "answer" in found, found
        return found["answer"]

    ask("configure", facts)
    return ask
