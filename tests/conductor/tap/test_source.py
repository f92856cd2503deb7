"""Which broker and queue the options of a tap name."""

import pytest
from oslo_config import cfg

from conductor import app, config
from conductor.tap.source import source_of
from rpc_api import errors
from rpc_api.bus import MessagingBus
from rpc_api.config import Cell

CELL = Cell("cell1", None, "memory://x", "rabbit://nova:secret@cell1-mq:5672/cell1")


@pytest.fixture
def conf():
    conf = cfg.ConfigOpts()
    app.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    MessagingBus(conf, "rabbit://nobody@127.0.0.1:1/").close()  # registers the options of oslo.messaging
    conf.set_override("enabled", True, "tap")
    return conf


def address_of(conf, cell=CELL):
    return source_of(conf, cell)._address


def test_without_a_tap_there_is_no_queue(conf):
    conf.set_override("enabled", False, "tap")
    assert source_of(conf, CELL) is None


def test_the_default_is_the_broker_of_the_cell(conf):
    """One vhost per cell."""
    address = address_of(conf)
    assert (address.hosts, address.vhost, address.user) == ((("cell1-mq", 5672),), "cell1", "nova")
    assert address.stream == "nova_sched.tap.cell1" and "secret" not in source_of(conf, CELL).url


def test_one_broker_for_all(conf):
    """One vhost with a single cell: the cell has no URL of its own."""
    conf.set_override("transport_url", "rabbit://u:p@a:1,u:p@b:2//")
    address = address_of(conf, CELL._replace(transport_url=None))
    assert address.hosts == (("a", 1), ("b", 2)) and address.vhost == "/"


def test_an_account_of_its_own(conf):
    conf.set_override("url", "kombu://tap:own@mq/cell1?ssl=1&heartbeat_rate=3", "tap")
    conf.set_override("queue", "nova_sched.tap.other", "tap")
    address = address_of(conf)
    assert (address.user, address.stream) == ("tap", "nova_sched.tap.other")
    assert address.ssl_for("mq")["server_hostname"] == "mq"


def test_tls_as_in_oslo_messaging(conf, tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("")
    assert address_of(conf).tls is None
    conf.set_override("ssl", True, "oslo_messaging_rabbit")
    conf.set_override("ssl_ca_file", str(ca_file), "oslo_messaging_rabbit")
    assert address_of(conf).ssl_for("cell1-mq")["ca_certs"] == str(ca_file)


@pytest.mark.parametrize("url", ["fake://", "redis://a/b", ""])
def test_another_transport_cannot_be_tapped(conf, url):
    with pytest.raises(errors.UsageError, match="wanted rabbit; set"):
        source_of(conf, CELL._replace(transport_url=url or "none"))


def test_the_api_level_has_no_tap(conf):
    conf.set_override("level", "api")
    with pytest.raises(errors.UsageError, match="for the conductors of cells only"):
        config.check(conf)
