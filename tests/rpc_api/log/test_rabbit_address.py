"""The URL of a log on RabbitMQ; nothing here needs a broker."""

import pytest

from rpc_api import errors
from rpc_api.log import open_log
from rpc_api.log.rabbit_address import parse_address
from tests.rpc_api.log.contract import assert_hidden


@pytest.mark.parametrize("url, expected", [
    ("rabbit://u:p@h/v?stream=s", ((("h", 5672),), "u", "p", "v")),
    ("rabbit://u:p@h:1/?stream=s", ((("h", 1),), "u", "p", "/")),
    ("rabbit://u:p@h?stream=s", ((("h", 5672),), "u", "p", "/")),
    ("rabbit://u:p@h//?stream=s", ((("h", 5672),), "u", "p", "/")),
    ("rabbit://u%40x:p%2F%3A%40@h/%2Fv?stream=s", ((("h", 5672),), "u@x", "p/:@", "/v")),
    ("rabbit://h/?stream=s", ((("h", 5672),), "guest", "guest", "/")),
    ("rabbit://u:p@a,b:2,[::1]:3/?stream=s", ((("a", 5672), ("b", 2), ("[::1]", 3)), "u", "p", "/")),
    ("rabbits://u:p@h/?stream=s", ((("h", 5671),), "u", "p", "/")),
])
def test_urls_are_understood(url, expected):
    address = parse_address(url)
    assert (address.hosts, address.user, address.password, address.vhost) == expected
    assert address.stream == "s"


@pytest.mark.parametrize("url, said", [
    ("rabbit://u:secret@h/", "names no stream"),
    ("rabbit://u:secret@h/?stream=", "'stream' is empty"),
    ("rabbit://u:secret@h/?stream=a&stream=b", "'stream' is there twice"),
    ("rabbit://u:secret@h/?stream=amq.x", "starts with amq."),
    ("rabbit://u:secret@h/?stream=a&heartbeat=1", "the option 'heartbeat', wanted only stream"),
    ("rabbit://u:secret@h/?stream=a&ssl_ca_file=x", "the option 'ssl_ca_file', wanted only stream"),
    ("rabbits://u:secret@h/?stream=a&ssl_ca_file=/none", "ssl_ca_file is '/none', which is no readable file"),
    ("rabbits://u:secret@h/?stream=a&ssl_key_file=/dev/null", "readable|without ssl_cert_file"),
    ("rabbit://u:secret@h:port/?stream=a", "a host or port in it is not one"),
    ("rabbit://u:secret@/?stream=a", "a host or port in it is not one"),
    ("rabbit://u:sec/ret@h/?stream=a", "percent-encoded"),
    ("rabbit://u:sec@ret@h:x/?stream=a", "a host or port in it is not one"),
    ("rabbit://u:sec?ret@h/?stream=a", "percent-encoded"),
    ("rabbit://u:sec#ret@h/?stream=a", "percent-encoded"),
    ("rabbit://u:secret@[h/?stream=a", "it is no URL"),
])
def test_wrong_urls_are_usage_errors_without_the_password(url, said):
    with pytest.raises(errors.UsageError, match=said) as caught:
        open_log(url)
    assert "mend the log URL" in str(caught.value)
    assert_hidden(caught.value, "sec", "ret")
