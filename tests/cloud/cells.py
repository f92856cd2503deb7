"""cells.py [OUT.json]: a cloud of two cells; up.sh with
CLOUD_HOSTS="cell1/host1 cell1/host2 cell2/host3" CLOUD_FAILING=host2 makes it.

A build fails in cell1 while everything above the cells is stopped: nova-api, Nova's conductor at the API level, the
schedulers, the Placement endpoint of the region; and nobody may use their vhost. The conductor of the cell claims the
alternate at the endpoint of its cell."""

import glob
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from asked import boot, create, expect, finish, gone, note, nova, row, settle, wait, zone

#: The host of cell1 on which builds fail.
FAILING = os.environ["CLOUD_FAILING"]
RUN = os.path.join(os.environ["CLOUD_DIR"], "run")
ABOVE = ("nova", "super-conductor", "scheduler-1", "scheduler-2", "placement-1", "placement-2")


def _pids(name):
    with open(os.path.join(RUN, f"{name}.pid")) as file:
        pid = file.read().strip()
    children = subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True, check=False).stdout.split()
    return [int(pid), *map(int, children)]


@contextmanager
def stopped(*names):
    """Some processes, and those that they have started, do nothing for a while."""
    pids = [pid for name in names for pid in _pids(name)]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _rights(vhost, given):
    """Give the account of all services its rights on a vhost, or take them."""
    rights = [".*", ".*", ".*"] if given else ["^$", "^$", "^$"]
    # (The command on PATH is Debian's, which uses the cookie of the system's broker.)
    command = glob.glob("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmqctl")[0]
    subprocess.run(
        [command, "-q", "-n", "lab@localhost", "set_permissions", "-p", vhost, "lab", *rights],
        check=True,
        env={**os.environ, "HOME": os.path.join(os.environ["CLOUD_DIR"], "rabbit", "home")},
        stdout=subprocess.DEVNULL,
    )


def _in_cell(cell, uuid):
    """Return (host, state) of an instance from the database of its cell."""
    socket = os.path.join(os.environ["CLOUD_DIR"], "mysql", "s.sock")
    query = f"select host, vm_state from nova_{cell}.instances where uuid = '{uuid}'"
    command = ["mariadb", "--no-defaults", "-S", socket, "-u", "root", "-N", "-e", query]
    return tuple(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


def each_cell():
    for host in ("host1", "host3"):
        gone(boot(f"create on {host}", availability_zone=f"nova:{host}"))
    with zone("zone-0", "host1", "host3") as name:
        began = time.time()
        create("spread", min_count=4, max_count=4, availability_zone=name)
        servers = [settle(server, "ACTIVE") for server in nova.servers(name="spread")]
        row("create four in one call in a zone of both cells", servers, began)
        gone(*servers)


def nothing_above():
    """No call goes up while a cell retries."""
    with zone("zone-1", "host1", FAILING) as name:
        full = boot(f"create on host1, so that {FAILING} has most room", availability_zone="zone-1:host1")
        with stopped(f"compute-{FAILING}"):
            server = create("alone", availability_zone=name)
            wait("the server in its cell", lambda: _in_cell("cell1", server.id))
            time.sleep(2)
            with stopped(*ABOVE):
                _rights("/", False)
                try:
                    for pid in _pids(f"compute-{FAILING}"):
                        os.kill(pid, signal.SIGCONT)
                    wait("the build", lambda: _in_cell("cell1", server.id)[-1] in ("active", "error"))
                    host, state = _in_cell("cell1", server.id)
                finally:
                    _rights("/", True)
        note(what="rescheduled with nothing above the cell", host=host, state=state)
        expect((host, state) == ("host1", "active"), f"the server is {state} on {host}, wanted active on host1")
        gone(settle(server, "ACTIVE"), full)


def a_cell_is_down():
    """The other cell goes on, and the servers of the cell that is down stay listed."""
    there = boot("create on host3", availability_zone="nova:host3")
    try:
        _rights("cell2", False)
        for name in ("conductor-cell2", "compute-host3", "nova_sched-conductor-cell2"):
            for pid in _pids(name):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(30)
        servers = [settle(create("other"), "ACTIVE", "ERROR") for _ in range(3)]
        row("create three while cell2 is down", servers, time.time())
        listed = sorted(server.name or "" for server in nova.servers())
        note(what="listed while cell2 is down", names=listed)
        # (Of a server in a cell that is down, Nova knows no name.)
        expect(len(listed) == 4, f"{listed} are listed while cell2 is down, wanted 4 servers")
        gone(*servers)
    finally:
        _rights("cell2", True)
        for name in ("conductor-cell2", "compute-host3", "nova_sched-conductor-cell2"):
            for pid in _pids(name):
                os.kill(pid, signal.SIGCONT)
    time.sleep(30)
    gone(there)


if __name__ == "__main__":
    each_cell()
    nothing_above()
    a_cell_is_down()
    finish(*sys.argv[1:2])
