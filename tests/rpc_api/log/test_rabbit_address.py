"""The URL of a log on RabbitMQ; nothing here needs a broker."""

import os
import ssl

import pytest
from oslo_config import cfg
from oslo_messaging import TransportURL

from rpc_api import errors
from rpc_api.log import open_log
from rpc_api.log.checks import mask_password
from rpc_api.log.rabbit_address import parse_address
from tests.rpc_api.log.contract import assert_hidden


@pytest.mark.parametrize(
    "url, expected",
    [
        ("rabbit://u:p@h/v?stream=s", ((("h", 5672),), "u", "p", "v")),
        ("rabbit://u:p@h:1/?stream=s", ((("h", 1),), "u", "p", "/")),
        ("rabbit://u:p@h?stream=s", ((("h", 5672),), "u", "p", "/")),
        ("rabbit://u:p@h//?stream=s", ((("h", 5672),), "u", "p", "/")),
        ("rabbit://u%40x:p%2F%3A%40@h/%2Fv?stream=s", ((("h", 5672),), "u@x", "p/:@", "/v")),
        ("rabbit://h/?stream=s", ((("h", 5672),), "guest", "guest", "/")),
        ("rabbit://u:p@a,b:2,[::1]:3/?stream=s", ((("a", 5672), ("b", 2), ("[::1]", 3)), "u", "p", "/")),
        ("rabbits://u:p@h/?stream=s", ((("h", 5671),), "u", "p", "/")),
        # As deployment tools write transport_url: each broker with its user and password.
        ("rabbit://u:p@a:1,u:p@b:2,u:p@c:3//?stream=s", ((("a", 1), ("b", 2), ("c", 3)), "u", "p", "/")),
        ("rabbit://u:p@[fd00::1]:1,u:p@[fd00::2]:2/v?stream=s", ((("[fd00::1]", 1), ("[fd00::2]", 2)), "u", "p", "v")),
        ("rabbit://u:p@[fd00::1],b/?stream=s", ((("[fd00::1]", 5672), ("b", 5672)), "u", "p", "/")),
        ("rabbit://u:p@a,,b,/?stream=s", ((("a", 5672), ("b", 5672)), "u", "p", "/")),
        ("rabbit://u:p@a,a/?stream=s", ((("a", 5672),), "u", "p", "/")),
        ("rabbit://u@h:/?stream=s", ((("h", 5672),), "u", "", "/")),
        ("rabbit://a,b/?stream=s", ((("a", 5672), ("b", 5672)), "guest", "guest", "/")),
        ("rabbit://u:p%2Cq%40@a,b/?stream=s", ((("a", 5672), ("b", 5672)), "u", "p,q@", "/")),
        ("rabbit://u:p@h/%2F?stream=s", ((("h", 5672),), "u", "p", "/")),
        ("rabbit://u:p@h/a%2Fb%40c?stream=s", ((("h", 5672),), "u", "p", "a/b@c")),
        ("rabbit://u:p@h/?ssl=0&stream=s", ((("h", 5672),), "u", "p", "/")),
        ("rabbit://u:p@h:5671/?ssl=true&ssl_version=TLSv1_2&ssl_ca_file=&stream=s", ((("h", 5671),), "u", "p", "/")),
    ],
)
def test_urls_are_understood(url, expected):
    address = parse_address(url)
    assert (address.hosts, address.user, address.password, address.vhost) == expected
    assert address.stream == "s"
    assert address.after(address.hosts[0]).at(address.hosts[-1]).password == expected[2]


NOVAS = [
    "rabbit://u:p@a:1,u:p@b:2/v",
    "rabbit://u:p@a:1,w:q@b:2//",
    "rabbit://u:p@[fd00::1]:1,u:p@[fd00::2]:2/",
    "rabbit://u:p%40ss%2F%23%2C@a:1/%2F",
    "rabbit://u:p:q@a:1",
    "rabbit://u@x:p@a:1/a%20b",
]


@pytest.mark.parametrize("url", NOVAS)
def test_a_log_has_the_brokers_of_a_transport_url(url):
    address, theirs = parse_address(f"{url}?stream=s"), TransportURL.parse(cfg.ConfigOpts(), url)
    assert [
        (name.strip("[]"), port, *(address.at((name, port)).user, address.at((name, port)).password))
        for name, port in address.hosts
    ] == [(host.hostname, host.port, host.username, host.password) for host in theirs.hosts]
    assert address.vhost == (theirs.virtual_host or "/")


@pytest.mark.parametrize(
    "options, tls",
    [
        ("", None),
        ("&ssl=0", None),
        ("&ssl=False", None),
        ("&ssl=1", {}),
        ("&ssl=true&ssl_version=tlsv1_2", {"ssl_version": ssl.PROTOCOL_TLSv1_2}),
        ("&ssl=1&ssl_ca_file=/dev/null&ssl_cert_file=", {"ca_certs": "/dev/null"}),
    ],
)
def test_tls_as_in_a_transport_url(monkeypatch, options, tls):
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    address = parse_address(f"rabbit://u:p@h/?stream=s{options}")
    assert (None if address.tls is None else dict(address.tls)) == tls


def test_a_certificate_is_that_of_the_address_without_brackets():
    address = parse_address("rabbit://u:p@[fd00::1]:1,u:p@h:2/?stream=s&ssl=1")
    assert [address.ssl_for(host)["server_hostname"] for host, _ in address.hosts] == ["fd00::1", "h"]


@pytest.mark.parametrize(
    "url, said",
    [
        ("rabbit://u:secret@h/", "names no stream"),
        ("rabbit://u:secret@h/?stream=", "'stream' is empty"),
        ("rabbit://u:secret@h/?stream=a&stream=b", "'stream' is repeated"),
        ("rabbit://u:secret@h/?stream=amq.x", "starts with amq."),
        ("rabbit://u:secret@h/?stream=a&heartbeat=1", "the option 'heartbeat', wanted only stream"),
        ("rabbit://u:secret@h/?stream=a&ssl_ca_file=x", "the option 'ssl_ca_file', wanted only stream"),
        ("rabbits://u:secret@h/?stream=a&ssl_ca_file=/none", "ssl_ca_file is '/none', which is not a readable file"),
        ("rabbits://u:secret@h/?stream=a&ssl_key_file=/dev/null", "readable|without ssl_cert_file"),
        ("rabbit://u:secret@h:port/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:secret@/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:sec/ret@h/?stream=a", "percent-encoded"),
        ("rabbit://u:sec@ret@h:x/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:sec?ret@h/?stream=a", "percent-encoded"),
        ("rabbit://u:sec#ret@h/?stream=a", "percent-encoded"),
        ("rabbit://u:secret@[h/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:se[cr]et@h/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:se\u2100ret@h/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:sec,ret@h/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:12,ret@h/?stream=a", "first broker has no user and another has one"),
        ("rabbit://h1,u:secret@h2/?stream=a", "first broker has no user and another has one"),
        ("rabbit://u:secret@h1:5672,u:secret@h2:port/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:secret@h1,u:se/cret@h2/?stream=a", "percent-encoded"),
        ("rabbit://u:secret@h1/v@x?stream=a", "percent-encoded"),
        ("rabbit://u:secret@h:0/?stream=a", "wanted 1 to 65535"),
        ("rabbit://u:secret@h:70000/?stream=a", "wanted 1 to 65535"),
        ("rabbit://u:secret@h:1:2/?stream=a", "it has a wrong host or port"),
        ("rabbit://u:secret@[::1]5672/?stream=a", "it has a wrong host or port"),
        ("rabbit:///?stream=a", "it has a wrong host or port"),
        ("rabbit://u:secret@h/?stream=a&ssl=maybe", "'ssl' is neither true nor false"),
        ("rabbits://u:secret@h/?stream=a&ssl=0", "it has rabbits:// and ssl=0"),
        ("rabbit://u:secret@h/?stream=a&ssl=1&ssl_version=SSLv9", "ssl_version is 'SSLv9', wanted one of tlsv1"),
    ],
)
def test_wrong_urls_are_usage_errors_without_the_password(url, said):
    with pytest.raises(errors.UsageError, match=said) as caught:
        open_log(url)
    assert "fix the log URL" in str(caught.value)
    assert_hidden(caught.value, "sec", "ret")


@pytest.mark.parametrize(
    "url, shown",
    [
        ("rabbit://u:secret@a:1,u:secret@b:2/v?stream=s", "rabbit://u:***@a:1,u:***@b:2/v?stream=s"),
        ("rabbit://u:secret@[::1]:1,[::2]:2/?stream=s&ssl=1", "rabbit://u:***@[::1]:1,[::2]:2/?stream=s&ssl=1"),
        ("rabbit://u:sec%2Cret@a,b", "rabbit://u:***@a,b"),
        ("redis://:secret@h/0", "redis://:***@h/0"),
        ("rabbit://u@h/", "rabbit://u@h/"),
        ("rabbit://h:5672,h2/", "rabbit://h:5672,h2/"),
        # It cannot be told where the password ends: all is hidden that might be of it.
        ("rabbit://u:12,secret@h/", "rabbit://u:***@h/"),
        ("rabbit://u:p@ss,secret@h/", "rabbit://u:***@h/"),
        ("rabbit://u:p@ss/secret@h/", "rabbit://u:***@h/"),
        ("rabbit://u:secret#x@h/", "rabbit://u:***@h/"),
        ("rabbit://a,u:secret@h/?token=secret", "rabbit://a,u:***@h/?token=***"),
    ],
)
def test_each_password_is_masked(url, shown):
    assert mask_password(url) == shown
