"""chaos.py [OUT.json]: services are killed in turn while servers are created, resized and deleted.

Each round kills one process with SIGKILL, lets the cloud work without it for some seconds, and starts it again. A row
says how the servers of the round ended. At the end nothing is left in Placement.

With stock services the rounds kill nova-scheduler and Placement instead."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

from asked import FLAVOR, create, expect, finish, gone, note, nova, placement, provider_names, settle

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = os.path.join(os.environ["CLOUD_DIR"], "run")
#: Seconds without the process, and with it again before the next round.
AWAY, BACK = 4.0, 8.0
WORKERS = 3
OURS = ("scheduler-1", "scheduler-2", "placement-1", "placement-2", "nova_sched-conductor-cell1", "rabbit")
STOCK = ("scheduler", "placement", "rabbit")


def kill(name):
    """Kill a process, and the processes that it has started."""
    with open(os.path.join(RUN, f"{name}.pid")) as file:
        pid = int(file.read())
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    for each in (pid, *map(int, children)):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            continue


def is_running(name):
    """Whether a process runs: one that has ended, and that nobody waited for, does not."""
    try:
        with open(os.path.join(RUN, f"{name}.pid")) as file, open(f"/proc/{int(file.read())}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, ValueError):
        return False


class Round:
    """Workers that make and delete servers until they are stopped."""

    def __init__(self):
        self.states, self.faults, self.lost = Counter(), Counter(), Counter()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(WORKERS)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _work(self):
        while not self._stopped.is_set():
            try:
                self._one()
            except Exception as fault:  # what a user of the API sees while a service is away
                self.lost[f"{type(fault).__name__}: {str(fault)[:100]}"] += 1
                time.sleep(0.5)

    def _one(self):
        server = settle(create("chaos"), "ACTIVE", "ERROR")
        self._count("create", server)
        if server.status == "ACTIVE":
            nova.resize_server(server.id, FLAVOR["m1.small"])
            time.sleep(0.2)
            server = settle(server, "VERIFY_RESIZE", "ACTIVE", "ERROR")
            self._count("resize", server)
            if server.status == "VERIFY_RESIZE":
                nova.confirm_server_resize(server.id)
                self._count("confirm", settle(server, "ACTIVE", "ERROR"))
        nova.delete_server(server.id)

    def _count(self, what, server):
        self.states[f"{what} {server.status}"] += 1
        if getattr(server, "fault", None):
            self.faults[server.fault["message"]] += 1


def held():
    """Return the consumers that hold something."""
    found = set()
    for uuid in provider_names():
        found |= placement.get(f"/resource_providers/{uuid}/allocations").json()["allocations"].keys()
    return sorted(found)


def main():
    names = [name for name in dict.fromkeys((*OURS, *STOCK)) if os.path.exists(os.path.join(RUN, f"{name}.command"))]
    for name in names:
        work = Round()
        try:
            time.sleep(2)
            kill(name)
            time.sleep(AWAY)
            subprocess.run([os.path.join(HERE, "again.sh"), name], check=True)
            time.sleep(BACK if name != "rabbit" else 4 * BACK)
        finally:
            # (The process would not end while they work.)
            work.stop()
        expect(is_running(name), f"{name} was started again, and does not run")
        expect(work.states["create ACTIVE"], f"no server was built in the round of {name}")
        note(what=f"{name} was killed", states=dict(work.states), faults=dict(work.faults), calls=dict(work.lost))
    left = list(nova.servers())
    gone(*left)
    time.sleep(5)
    holding = held()
    expect(names, "there is no process to kill")
    expect(not holding, f"{len(holding)} consumers hold something at the end")
    note(what="at the end", servers=len(left), in_error=sum(s.status == "ERROR" for s in left), holding=holding)


if __name__ == "__main__":
    main()
    finish(*sys.argv[1:2])
