"""Follow a runbook: type its commands, and compare how they end and what they print with the page."""

import re
import time

from tests.operations.runbooks import OVER, TYPED, difference, steps_of
from tests.servers import POLL_SECONDS

#: What heals takes a moment, and more on a busy machine.
HEALING_SECONDS_MAX = 120.0
#: Commands that end with another code while something is wrong: a finding, or a log that cannot be reached.
MAY_FIND = re.compile(
    r"nova-sched-replay (doctor|check|quarantine|stats|replay)|nova-sched-status|systemctl status|.*\| grep"
    r"|nova-sched (service list|policy history|host list|conflicts|fragmentation)"
)
FOUND = {0, 1, 2, 3}


def carried_out(shell, step) -> str | None:
    """None if a command ended and printed as its page has it; else what is different."""
    code, printed = shell.run(step.command)
    allowed = FOUND if step.section == TYPED and MAY_FIND.match(step.command) else {0}
    if step.code is not None:
        allowed = {step.code}
    if code not in allowed:
        return f"$ {step.command}\nends with {code}, wanted {sorted(allowed)}: {printed}"
    different = difference(tuple(map(shell.typed, step.shown)), printed)
    return different and f"$ {step.command}\n{different}\nin {printed}"


def follow(shell, path, *sections) -> None:
    """Type the commands of some sections of a page; the test fails if one does not end and print as shown. Those under
    "When it is over" are typed until they do."""
    for step in steps_of(path):
        if step.section in sections:
            deadline = time.monotonic() + (HEALING_SECONDS_MAX if step.section == OVER else 0)
            while (wrong := carried_out(shell, step)) is not None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            assert wrong is None, wrong
