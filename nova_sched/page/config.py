"""Options of the page, and whether it has a login."""

import ipaddress
import socket
from collections.abc import Sequence

from oslo_config import cfg
from oslo_policy import opts as policy_opts

from rpc_api import config, errors

LOOPBACK = "127.0.0.1"

GROUP = cfg.OptGroup("page", "The page to look at in a browser (nova-sched page)")
OPTS = [
    cfg.StrOpt(
        "auth_url",
        help="URL of Keystone, such as https://keystone.example:5000/v3, which checks the names and passwords of the "
        "login form. Without it the page has no login, shows everything, and listens on this machine only.",
    ),
    cfg.StrOpt(
        "cafile",
        help="File with the certificates of the authorities that may have signed the certificate of Keystone. The "
        "default is that of the system.",
    ),
    cfg.BoolOpt("insecure", default=False, help="Whether the certificate of Keystone is not checked. For tests only."),
    cfg.FloatOpt("keystone_timeout", default=10.0, min=0.1, help="Seconds to wait for an answer of Keystone."),
    cfg.HostAddressOpt(
        "host", default=LOOPBACK, help="Address on which the page listens. Others than loopback need auth_url."
    ),
    cfg.PortOpt("port", default=8790, help="Port on which the page listens."),
    cfg.StrOpt(
        "default_domain",
        default="Default",
        help="Name of the domain that the login form has at first, for users and projects.",
    ),
    cfg.BoolOpt(
        "behind_proxy",
        default=False,
        help="Whether every request comes through a proxy that sets X-Forwarded-For and X-Forwarded-Proto, as one that "
        "ends TLS does. Then a client is the last address in X-Forwarded-For, and cookies are sent over "
        "HTTPS only.",
    ),
    cfg.ListOpt(
        "allowed_hosts",
        default=[],
        help="Names under which browsers reach the page, as in page.example or page.example:8443. A request for "
        "another name is refused. The default is the address and port on which it listens, and, with auth_url, any "
        "name.",
    ),
    cfg.IntOpt(
        "threads", default=8, min=2, help="Requests that are answered side by side, without those that wait for news."
    ),
    cfg.IntOpt(
        "waiting",
        default=32,
        min=0,
        help="Browsers that wait for news at the same time, each in a thread. Further ones ask every few seconds.",
    ),
    cfg.IntOpt("connections", default=256, min=1, help="Connections of browsers that are kept open."),
    cfg.FloatOpt("requests_per_second", default=20.0, min=0.1, help="Requests that one client may make on average."),
    cfg.IntOpt("request_burst", default=100, min=10, help="Requests that one client may make at once."),
    cfg.FloatOpt("logins_per_minute", default=6.0, min=0.1, help="Attempts of one client to log in."),
    cfg.IntOpt("sessions", default=1000, min=1, help="Sessions at the same time. The oldest ones end for new ones."),
    cfg.IntOpt(
        "changes",
        default=500_000,
        min=1000,
        help="Changes of hosts that are kept in memory for each cell, with about 100 bytes each. How far the slider "
        "goes back follows from it.",
    ),
    cfg.IntOpt("happenings", default=5000, min=100, help="Decisions and refusals that are kept in memory."),
    cfg.IntOpt(
        "what_if_records",
        default=200_000,
        min=1,
        help="Records in the logs, at most, for which the page runs a what-if. Use nova-sched-replay what-if for more.",
    ),
    cfg.IntOpt("what_if_seconds", default=300, min=1, help="Seconds after which a what-if is ended."),
]


def list_opts() -> list[tuple[cfg.OptGroup, Sequence[cfg.Opt]]]:
    """Return the options of the page, for oslo-config-generator."""
    return [(GROUP, OPTS)]


def register(conf: cfg.ConfigOpts) -> None:
    """Register the options of the page, those that all services share, and those of oslo.policy."""
    config.register(conf, list_opts())
    policy_opts.set_defaults(conf)


def is_loopback(host: str) -> bool:
    """Return whether an address, or each address of a name, is one of this machine that no other can reach."""
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as fault:
        raise errors.UsageError(
            f"the page cannot listen on {host!r} ({fault.strerror or fault}); name an address of this machine with "
            "--host"
        ) from None
    return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found)


def check(conf: cfg.ConfigOpts, host: str) -> None:
    """Raise UsageError if the page must not listen on an address."""
    if conf.page.auth_url is None and not is_loopback(host):
        raise errors.UsageError(
            f"the page has no login without [page] auth_url, so it listens on loopback only, not on {host}; set "
            f"auth_url in a file of --config-file, or use --host {LOOPBACK}"
        )
