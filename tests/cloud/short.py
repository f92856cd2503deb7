"""short.py FAILING: one boot, one resize, one build that is rescheduled. Exit code: 0 if all ended as they should."""

import sys

from asked import FLAVOR, boot, gone, note, nova, row, rows, settle
from moves import rescheduled

if __name__ == "__main__":
    server = boot("create")
    nova.resize_server(server.id, FLAVOR["m1.small"])
    row("resize", [settle(server, "VERIFY_RESIZE")], 0)
    nova.confirm_server_resize(server.id)
    row("resize confirmed", [settle(server, "ACTIVE")], 0)
    seconds, left = gone(server)
    note(what="delete", placement=left)
    rescheduled()
    states = [state for row in rows for state in row.get("states", ())]
    is_good = "ERROR" not in states and left == [{}] and rows[-1]["is_rescheduled"]
    sys.exit(0 if is_good else f"not as it should be: {states}, left {left}, {rows[-1]}")
