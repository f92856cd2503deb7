"""Services whose logs or brokers are away when they start: they wait, say so rarely, and end for what a person must
change."""

import re
import socket
import sqlite3
import subprocess

import pytest

from rpc_api.log import open_log
from tests.end_to_end.processes import ServiceProcess, config_text, run, sections_for
from tests.faults.proxy import Proxy
from tests.servers import free_port

SERVICES = {
    "scheduler": ("scheduler",),
    "api": ("conductor", "--level", "api"),
    "cell": ("conductor", "--level", "cell", "--cell", "cell1"),
    "agent": ("agent",),
}
WITH_LOGS = ("scheduler", "cell", "agent")


def write(directory, **changes):
    path = directory / "nova_sched.conf"
    path.write_text(config_text(sections_for(directory, **changes)))
    return str(path)


def start(directory, name, **changes):
    service, *args = SERVICES[name]
    return ServiceProcess(directory, service, "--config-file", write(directory, **changes), *args)


def rows(found, quick):
    """The rows, those that are not ``quick`` marked as long: each of them starts a process."""
    return [
        pytest.param(*row, id="-".join(row[:3] if len(row) > 2 else row), marks=() if quick(*row) else pytest.mark.long)
        for row in found
    ]


def nowhere(kind):
    """A place that nothing listens on, or whose name nobody knows."""
    return f"127.0.0.1:{free_port()}" if kind == "refused" else "nobody.invalid:5672"


def urls(place):
    return {"DEFAULT": {"transport_url": f"rabbit://u:secret@{place}/"}}


def logs(place):
    return {
        "cells": {"cell0_log": f"rabbit://u:secret@{place}/?stream=cell0"},
        "cell_cell1": {"log": f"rabbit://u:secret@{place}/?stream=cell1"},
    }


#: What is away, of which services, and what they say.
AWAY = [
    (name, "the RPC broker", kind, urls, "waits for the RPC broker: .*")
    for name in SERVICES
    for kind in ("refused", "unknown")
]
AWAY += [
    (name, "the logs", kind, logs, "(waits for|the log of cell.* cannot be read, and is tried again: ).*")
    for name in WITH_LOGS
    for kind in ("refused", "unknown")
]


@pytest.mark.parametrize(
    "name, what, kind, changes, said", rows(AWAY, lambda name, what, kind, *_: name == "scheduler" or kind == "refused")
)
def test_what_is_away_is_waited_for(tmp_path, name, what, kind, changes, said):
    place = nowhere(kind)
    with start(tmp_path, name, **changes(place)) as process:
        line = process.wait_for(f"WARNING.*{said}{re.escape(place)}.*").group()
        assert "secret" not in line
        # It tries again meanwhile, and does not say it again.
        with pytest.raises(subprocess.TimeoutExpired):
            process.process.wait(1.5)
        texts = [re.sub(r"^\S+ \S+ \S+ ", "", text) for text in process.stderr.splitlines() if "WARNING" in text]
        assert len(texts) == len(set(texts)) and "Traceback" not in process.stderr
        assert process.stop() == 0, process.stderr


@pytest.mark.parametrize(
    "name", [name if name == "agent" else pytest.param(name, marks=pytest.mark.long) for name in WITH_LOGS]
)
def test_a_locked_log_is_waited_for(tmp_path, name):
    """The log is held by another program for longer than SQLite waits for it."""
    path = tmp_path / ("cell0.db" if name == "scheduler" else "cell1.db")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("CREATE TABLE held (a)")
    with start(tmp_path, name) as process:
        process.wait_for("WARNING.*database is locked; another process locked it")
        holder.execute("ROLLBACK")
        holder.close()
        process.wait_ready()
        assert process.stop() == 0


@pytest.mark.rabbit
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_when_its_broker_comes(tmp_path, rabbit_server, vhost, name):
    """The place of the broker takes no connections at first."""
    port = free_port()
    url = rabbit_server.url(vhost=vhost).replace(f":{rabbit_server.port}/", f":{port}/")
    with start(
        tmp_path,
        name,
        DEFAULT={"transport_url": url},
        cells={"cell0_log": f"{url}?stream=cell0"},
        cell_cell1={"log": f"{url}?stream=cell1"},
    ) as process:
        process.wait_for("waits for the RPC broker: ")
        with Proxy(rabbit_server.host, rabbit_server.port, listen=port):
            process.wait_ready()
            assert process.stop() == 0


def of(rabbit_server, vhost, **account):
    url = rabbit_server.url(vhost=vhost, **account)
    return {
        "DEFAULT": {"transport_url": rabbit_server.url(vhost=vhost)},
        "cells": {"cell0_log": f"{url}?stream=cell0"},
        "cell_cell1": {"log": f"{url}?stream=cell1"},
    }


#: Faults that a person must fix, and the text of each.
LASTING = {
    "the password of the logs": (
        lambda server, vhost: of(server, vhost, password="wrong"),
        "refuses the user",
        WITH_LOGS,
    ),
    "the vhost of the logs": (
        lambda server, vhost: {**of(server, "nowhere"), "DEFAULT": {"transport_url": server.url(vhost=vhost)}},
        "vhost nowhere not found",
        WITH_LOGS,
    ),
    "the rights on the logs": (
        lambda server, vhost: of(server, vhost, user="guest-of-none", password="p"),
        "refused for user",
        WITH_LOGS,
    ),
    "the password of RPC": (
        lambda server, vhost: {"DEFAULT": {"transport_url": server.url(vhost=vhost, password="wrong")}},
        "ACCESS_REFUSED",
        tuple(SERVICES),
    ),
    "the vhost of RPC": (
        lambda server, vhost: {"DEFAULT": {"transport_url": server.url(vhost="nowhere")}},
        "vhost nowhere not found",
        tuple(SERVICES),
    ),
    "the rights of RPC": (
        lambda server, vhost: {
            "DEFAULT": {"transport_url": server.url(vhost=vhost, user="guest-of-none", password="p")}
        },
        "refused for user",
        tuple(SERVICES),
    ),
}
ROWS = [(name, what) for what, row in LASTING.items() for name in row[2]]


@pytest.mark.rabbit
@pytest.mark.parametrize("name, what", rows(ROWS, lambda name, what: name == "scheduler" or "password" in what))
def test_what_a_person_must_change_ends_a_service(tmp_path, rabbit_server, vhost, name, what):
    if "rights" in what:
        rabbit_server.add_user("guest-of-none", "p", vhost=vhost)
        # (A service waits for logs that are not there.)
        for url in of(rabbit_server, vhost)["cells"]["cell0_log"], of(rabbit_server, vhost)["cell_cell1"]["log"]:
            open_log(url).close()
    changes, said, _ = LASTING[what]
    service, *args = SERVICES[name]
    done = run(service, "--config-file", write(tmp_path, **changes(rabbit_server, vhost)), *args)
    assert done.returncode == 3, done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"nova-sched-{service}: ") and re.search(said, sentence), done.stderr
    assert "Traceback" not in done.stderr and "wrong" not in sentence


@pytest.mark.parametrize(
    "name", [name if name == "api" else pytest.param(name, marks=pytest.mark.long) for name in SERVICES]
)
def test_a_broker_that_takes_connections_and_says_nothing_is_waited_for(tmp_path, name):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        with start(tmp_path, name, **urls(place)) as process:
            process.wait_for("waits for the RPC broker: ")
            assert process.stop() == 0, process.stderr
