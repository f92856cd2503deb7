"""some_servers.py create N | check N | place | owner URL | delete: servers that live through a migration of the cloud.
Exit code: 0 if all of them, and those that a check makes, are as they should be.

``place`` makes one more server, by the scheduler that runs then, which lives on; ``owner`` looks whether the Placement
at an endpoint has all servers under their projects and users."""

import sys

from asked import allocations, boot, create, expect, finish, gone, nova, placement, settle

NAME, PLACED = "lasting", "placed"


def _all(*names):
    return [server for server in nova.servers() if server.name in (names or (NAME,))]


def owner(endpoint):
    """The Placement at an endpoint has each server with its project and its user, and counts it for that user."""
    servers = _all(NAME, PLACED)
    expect(any(server.name == PLACED for server in servers), f"there is no server {PLACED}")
    for server in servers:
        held = placement.get(f"{endpoint}/allocations/{server.id}", microversion="1.39").json()
        found, wanted = (held.get("project_id"), held.get("user_id")), (server.project_id, server.user_id)
        expect(held["allocations"] and found == wanted, f"{server.name} {server.id} has {found}, wanted {wanted}")
        asked = f"{endpoint}/usages?project_id={server.project_id}&user_id={server.user_id}"
        used = placement.get(asked, microversion="1.37").json()["usages"]
        least = sum(other.user_id == server.user_id for other in servers)
        expect(used.get("VCPU", 0) >= least, f"user {server.user_id} uses {used}, wanted VCPU of {least} servers")
    print(f"{len(servers)} servers under their projects and users")


def check(wanted):
    """Each server still holds one host's resources, and new ones can be built, moved and deleted."""
    servers = _all()
    expect(len(servers) == wanted, f"there are {len(servers)} servers, wanted {wanted}")
    for server in servers:
        held = allocations(server.id)
        is_good = server.status == "ACTIVE" and list(held) == [server.compute_host]
        expect(is_good, f"{server.id} is {server.status} on {server.compute_host}, and holds {held}")
    server = boot("create")
    nova.migrate_server(server.id)
    moved = settle(server, "VERIFY_RESIZE")
    expect(moved.status == "VERIFY_RESIZE", f"the migration ended {moved.status}")
    if moved.status == "VERIFY_RESIZE":
        nova.confirm_server_resize(server.id)
        moved = settle(server, "ACTIVE")
        is_good = moved.status == "ACTIVE" and moved.compute_host != server.compute_host
        expect(is_good, f"{moved.status} on {moved.compute_host} after {server.compute_host}")
    gone(server)
    print(f"{len(_all())} servers as they were")


if __name__ == "__main__":
    if sys.argv[1] == "create":
        servers = [settle(create(NAME), "ACTIVE") for _ in range(int(sys.argv[2]))]
        states = [server.status for server in servers]
        print(states)
        expect(set(states) == {"ACTIVE"}, f"the servers are {states}")
    elif sys.argv[1] == "place":
        placed = settle(create(PLACED), "ACTIVE")
        expect(placed.status == "ACTIVE", f"{PLACED} is {placed.status}")
        print(f"{placed.id} on {placed.compute_host}")
    elif sys.argv[1] == "owner":
        owner(sys.argv[2])
    elif sys.argv[1] == "check":
        check(int(sys.argv[2]))
    else:
        print(gone(*_all(NAME, PLACED)))
    finish()
