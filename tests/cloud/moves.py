"""moves.py FAILING [OUT.json]: requests that need a host whose first build of each server fails (nova-compute with
FakeRescheduleDriver, see add_host.sh), a host that dies, and a host that is removed. One row per request, as prove.py.

The host FAILING is removed from the cloud at the end."""

import os
import signal
import sys
import time

from asked import (
    FLAVOR,
    allocations,
    boot,
    cloud,
    create,
    expect,
    finish,
    gone,
    hosts_up,
    note,
    nova,
    placement,
    provider_names,
    row,
    service_of,
    settle,
    wait,
    zone,
)

FAILING = sys.argv[1]
RUN = os.path.join(os.environ["CLOUD_DIR"], "run")


def events_of(server):
    """Return host, event and result of each event of a server's actions, the oldest first."""
    found = []
    for action in nova.server_actions(server.id):
        whole = nova.get_server_action(action.request_id, server.id)
        found += [(event["start_time"], event["host"], event["event"], event["result"]) for event in whole.events or ()]
    return [event[1:] for event in sorted(found, key=lambda event: event[0])]


def rescheduled():
    """The first host fails; the conductor of the cell claims an alternate through Placement's API."""
    others = [host for host in hosts_up() if host != FAILING]
    full = [boot(f"create on {host}, so that {FAILING} has most room", host=host) for host in others]
    server = boot("create, the first host fails")
    built = [host for host, event, result in events_of(server) if event == "compute__do_build_and_run_instance"]
    is_rescheduled = built[:1] == [FAILING] and len(built) == 2
    expect(is_rescheduled, f"the server was built on {built}, wanted first {FAILING} and then another one")
    note(what="hosts that built it", hosts=built, is_rescheduled=is_rescheduled)
    gone(server, *full)


def evacuated():
    """A host dies with a server, which is evacuated. It holds its resources on both hosts until the host is back."""
    victim = next(host for host in hosts_up() if host != FAILING)
    server = boot(f"create on {victim}", availability_zone=f"nova:{victim}")
    with open(os.path.join(RUN, f"compute-{victim}.pid")) as pid:
        os.kill(int(pid.read()), signal.SIGKILL)
    service = service_of(victim)
    nova.update_service_forced_down(service.id, forced=True)
    began = time.time()
    nova.evacuate_server(server.id)
    wait("the server on another host", lambda: nova.get_server(server.id).compute_host not in (victim, None))
    # From microversion 2.95 on the server is stopped on its new host.
    row("evacuated", [settle(server, "SHUTOFF")], began, ("SHUTOFF",))
    held = allocations(server.id)
    expect(victim in held and len(held) == 2, f"the evacuated server holds {held}, wanted both hosts")
    gone(server)
    nova.update_service_forced_down(service.id, forced=False)
    note(what="the host is to be started again", host=victim)
    return victim


def usages():
    """The quota of a project counts what Placement holds."""
    project = cloud.current_project_id
    before = placement.get(f"/usages?project_id={project}").json()["usages"]
    servers = [create("usage"), create("usage", "m1.small")]
    servers = [settle(server, "ACTIVE") for server in servers]
    after = placement.get(f"/usages?project_id={project}").json()["usages"]
    limits = nova.get_limits().absolute
    more = {name: amount - _of(before, name) for name, amount in _amounts(after).items()}
    # (One m1.tiny and one m1.small.)
    expect(more == {"VCPU": 3, "MEMORY_MB": 768, "DISK_GB": 2}, f"the project holds {more} more")
    note(what="usages of a project", more=more, cores=limits.total_cores_used, ram=limits.total_ram_used)
    gone(*servers)


def _amounts(usages):
    """Return resource class -> amount over all types of consumers."""
    amounts = {}
    for used in usages.values():
        for name, amount in used.items():
            if name != "consumer_count":
                amounts[name] = amounts.get(name, 0) + amount
    return amounts


def _of(usages, name):
    return _amounts(usages).get(name, 0)


def resized_while_alternate():
    """A resize in a zone of two hosts, confirmed, while the source holds its resources for the migration."""
    hosts = hosts_up()[:2]
    with zone("zone-b", *hosts) as name:
        server = boot("create in a zone of two hosts", availability_zone=name)
        nova.resize_server(server.id, FLAVOR["m1.small"])
        server = settle(server, "VERIFY_RESIZE")
        expect(server.status == "VERIFY_RESIZE", f"the resize ended {server.status}")
        migration = next(iter(nova.migrations(instance_uuid=server.id)))
        of_server, of_migration = allocations(server.id), allocations(migration.uuid)
        note(what="during a resize", server=of_server, migration=of_migration)
        is_on_two = len(of_server) == len(of_migration) == 1 and of_server.keys() != of_migration.keys()
        expect(is_on_two, f"during a resize the server holds {of_server}, its migration {of_migration}")
        nova.confirm_server_resize(server.id)
        settle(server, "ACTIVE")
        held, left = allocations(server.id), allocations(migration.uuid)
        note(what="after it", server=held, migration=left)
        expect(held == of_server and not left, f"after a resize the server holds {held}, its migration {left}")
        gone(server)


def removed():
    """The failing host is disabled and its service is deleted: its provider goes with it."""
    service = service_of(FAILING)
    with open(os.path.join(RUN, f"compute-{FAILING}.pid")) as pid:
        os.kill(int(pid.read()), signal.SIGTERM)
    nova.disable_service(service.id)
    nova.delete_service(service.id)
    wait(f"the end of the provider {FAILING}", lambda: FAILING not in provider_names().values(), 30)
    note(what="a service is deleted", providers=sorted(provider_names().values()))


if __name__ == "__main__":
    rescheduled()
    usages()
    resized_while_alternate()
    removed()
    evacuated()
    finish(*sys.argv[2:3])
