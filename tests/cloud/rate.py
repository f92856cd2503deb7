"""rate.py [OUT.json]: how many servers per second become ACTIVE when several users create them at the same time.

Each round creates SERVERS servers with USERS threads, waits for the last one, and deletes them. The rate is that of the
whole cloud: nova-api, conductors, scheduler, Placement, nova-computes and RabbitMQ share this machine."""

import os
import sys
import threading
import time

from asked import create, expect, finish, gone, note, nova

SERVERS, USERS = 100, 8
#: Rounds: RATE_ROUNDS in the environment.
ROUNDS = int(os.environ.get("RATE_ROUNDS", "5"))


def _round(number):
    began, created, lock = time.time(), [], threading.Lock()

    def work(count):
        for _ in range(count):
            server = create(f"rate-{number}")
            with lock:
                created.append(server)

    threads = [threading.Thread(target=work, args=(SERVERS // USERS,)) for _ in range(USERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked, states = time.time(), {}
    while len(states) < len(created):
        states = {
            server.id: server.status
            for server in nova.servers(name=f"rate-{number}")
            if server.status in ("ACTIVE", "ERROR") and not server.task_state
        }
        time.sleep(0.1)
    done = time.time()
    expect(set(states.values()) == {"ACTIVE"}, f"round {number}: {sorted(set(states.values()))}")
    note(
        what=f"round {number}",
        active=sum(status == "ACTIVE" for status in states.values()),
        error=sum(status == "ERROR" for status in states.values()),
        asked_per_second=round(len(created) / (asked - began), 2),
        active_per_second=round(len(created) / (done - began), 2),
    )
    gone(*created)


if __name__ == "__main__":
    for number in range(ROUNDS):
        _round(number)
    finish(*sys.argv[1:2])
