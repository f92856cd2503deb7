"""short.py FAILING: one boot, one resize, one build that is rescheduled. Exit code: 0 if all ended as they should."""

import time

from asked import FLAVOR, boot, finish, gone, note, nova, row, settle
from moves import rescheduled

if __name__ == "__main__":
    server = boot("create")
    nova.resize_server(server.id, FLAVOR["m1.small"])
    row("resize", [settle(server, "VERIFY_RESIZE")], time.time(), ["VERIFY_RESIZE"])
    nova.confirm_server_resize(server.id)
    row("resize confirmed", [settle(server, "ACTIVE")], time.time())
    seconds, left = gone(server)
    note(what="delete", placement=left)
    rescheduled()
    finish()
