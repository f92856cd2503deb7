"""prove.py [OUT.json]: every kind of request that a scheduler sees, and what the cloud answered.

Each row: what was asked, the state in which it ended, on which hosts, the fault if any, the seconds to get there, and
what Placement holds for it. Nothing is left in the cloud."""

import sys
import time

from asked import (
    FLAVOR,
    IMAGE,
    NETWORK,
    OTHER_IMAGE,
    boot,
    create,
    expect,
    finish,
    gone,
    hosts_up,
    note,
    nova,
    refused,
    row,
    service_of,
    settle,
    zone,
)

HOSTS = hosts_up()


def creations():
    for number in range(5):
        gone(boot(f"create {number + 1} of 5, no network"))
    server = boot("create on a network", network=[{"uuid": NETWORK}])
    print("deleted in, left in Placement:", gone(server))
    for host in HOSTS:
        gone(boot(f"create with host={host}", host=host))
    gone(boot("create with availability_zone=nova:" + HOSTS[0], availability_zone="nova:" + HOSTS[0]))
    gone(boot("create, no host has 128 vCPUs", "ERROR", flavor="m1.huge"))
    refused("create in an availability zone nobody has", create, "prove", availability_zone="no")
    refused("create on a host nobody has", create, "prove", host="nowhere")
    began = time.time()
    create("many", min_count=4, max_count=4)
    many = [settle(server, "ACTIVE") for server in nova.servers(name="many")]
    row("create four in one call", many, began)
    gone(*many)


def groups():
    for policy, wanted in (("anti-affinity", len(HOSTS) + 1), ("affinity", 2), ("soft-anti-affinity", len(HOSTS) + 1)):
        group = nova.create_server_group(name=policy, policy=policy)
        began, members = time.time(), []
        for _ in range(wanted):
            members.append(settle(create("member", scheduler_hints={"group": group.id}), "ACTIVE", "ERROR"))
        # (Of an anti-affinity group one has no host.)
        states = ["ACTIVE"] * (wanted - 1) + ["ERROR" if policy == "anti-affinity" else "ACTIVE"]
        row(f"server group, {policy}, {wanted} members", members, began, states)
        hosts = {member.compute_host for member in members if member.status == "ACTIVE"}
        expect(len(hosts) == (1 if policy == "affinity" else len(HOSTS)), f"the {policy} group is on {hosts}")
        gone(*members)
        nova.delete_server_group(group.id)
    pair = boot("create, for hints")
    other = boot("hint different_host", scheduler_hints={"different_host": [pair.id]})
    same = boot("hint same_host", scheduler_hints={"same_host": [pair.id]})
    expect(other.compute_host != pair.compute_host == same.compute_host, "the hints were not kept")
    gone(pair, other, same)


def moves():
    server = boot("create, for moves")
    began = time.time()
    nova.resize_server(server.id, FLAVOR["m1.small"])
    row("resize", [settle(server, "VERIFY_RESIZE")], began, ["VERIFY_RESIZE"])
    nova.confirm_server_resize(server.id)
    row("resize confirmed", [settle(server, "ACTIVE")], began)
    began = time.time()
    nova.migrate_server(server.id)
    row("cold migration", [settle(server, "VERIFY_RESIZE")], began, ["VERIFY_RESIZE"])
    nova.revert_server_resize(server.id)
    row("cold migration reverted", [settle(server, "ACTIVE")], began)
    began = time.time()
    nova.live_migrate_server(server.id, host=None, block_migration="auto")
    time.sleep(0.3)
    migrated = settle(server, "ACTIVE")
    row(
        "live migration, scheduler's choice",
        [migrated],
        began,
        migrations=[migration.status for migration in nova.migrations(instance_uuid=server.id)],
    )
    began = time.time()
    nova.shelve_server(server.id)
    server = settle(server, "SHELVED", "SHELVED_OFFLOADED")
    if server.status == "SHELVED":
        nova.shelve_offload_server(server.id)
        server = settle(server, "SHELVED_OFFLOADED")
    row("shelved and off-loaded", [server], began, ["SHELVED_OFFLOADED"])
    nova.unshelve_server(server.id)
    row("unshelved", [settle(server, "ACTIVE")], began)
    began = time.time()
    nova.rebuild_server(server.id, image=IMAGE, name="prove")
    time.sleep(0.3)
    row("rebuilt, same image", [settle(server, "ACTIVE")], began)
    nova.rebuild_server(server.id, image=OTHER_IMAGE, name="prove")
    time.sleep(0.3)
    row("rebuilt, another image (scheduler asked)", [settle(server, "ACTIVE")], began)
    seconds, left = gone(server)
    note(what="delete", seconds=seconds, placement=left)


def operators():
    with zone("zone-a", HOSTS[-1]) as name:
        gone(boot("create in availability zone zone-a = " + HOSTS[-1], availability_zone=name))
    service = service_of(HOSTS[0])
    nova.disable_service(service.id)
    time.sleep(1)
    gone(boot(f"create while {HOSTS[0]} is disabled"))
    gone(boot(f"create with host={HOSTS[0]} while it is disabled", "ERROR", host=HOSTS[0]))
    nova.enable_service(service.id)


def full():
    began, servers = time.time(), []
    while len(servers) < 40:
        servers.append(settle(create("fill", "m1.quarter"), "ACTIVE", "ERROR"))
        if servers[-1].status == "ERROR":
            break
    last = servers[-1]
    expect(last.status == "ERROR" and len(servers) == 4 * len(HOSTS) + 1, f"{len(servers)} servers filled the hosts")
    note(
        what="fill the hosts with m1.quarter (16 of a host's 64 vCPUs)",
        active=sum(server.status == "ACTIVE" for server in servers),
        on={host: sum(server.compute_host == host for server in servers) for host in HOSTS},
        then=last.fault["message"] if last.status == "ERROR" else None,
        seconds=round(time.time() - began, 2),
    )
    gone(*servers)


if __name__ == "__main__":
    for part in (creations, groups, moves, operators, full):
        part()
    finish(*sys.argv[1:2])
