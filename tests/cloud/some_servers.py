"""some_servers.py create N | check | delete: servers that live through a migration of the cloud."""

import sys

from asked import allocations, boot, create, gone, nova, settle

NAME = "lasting"


def _all():
    return [server for server in nova.servers() if server.name == NAME]


def check():
    """Each server still holds one host's resources, and new ones can be built, moved and deleted."""
    for server in _all():
        held = allocations(server.id)
        if server.status != "ACTIVE" or list(held) != [server.compute_host]:
            sys.exit(f"{server.id} is {server.status} on {server.compute_host}, and holds {held}")
    server = boot("create")
    nova.migrate_server(server.id)
    settle(server, "VERIFY_RESIZE")
    nova.confirm_server_resize(server.id)
    moved = settle(server, "ACTIVE")
    _, left = gone(server)
    if server.status != "ACTIVE" or moved.compute_host == server.compute_host or left != [{}]:
        sys.exit(f"{moved.status} on {moved.compute_host} after {server.compute_host}, left {left}")
    print(f"{len(_all())} servers as they were")


if __name__ == "__main__":
    if sys.argv[1] == "create":
        servers = [settle(create(NAME), "ACTIVE") for _ in range(int(sys.argv[2]))]
        print([server.status for server in servers])
    elif sys.argv[1] == "check":
        check()
    else:
        print(gone(*_all()))
