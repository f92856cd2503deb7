"""some_servers.py create N | check N | delete: servers that live through a migration of the cloud. Exit code: 0 if all
of them, and those that a check makes, are as they should be."""

import sys

from asked import allocations, boot, create, expect, finish, gone, nova, settle

NAME = "lasting"


def _all():
    return [server for server in nova.servers() if server.name == NAME]


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
    elif sys.argv[1] == "check":
        check(int(sys.argv[2]))
    else:
        print(gone(*_all()))
    finish()
