"""Services that are stopped while their broker is killed or hangs: they end in time, in good order."""

import signal
import time

import pytest

from nova_sched.process.process import CLOSING
from tests.end_to_end.processes import COMMANDS, ServiceProcess, rabbit_config

pytestmark = pytest.mark.rabbit

GRACE = 20
#: For four interpreters to end, on a busy machine.
SLACK = 30.0


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_a_broker_that_is_away_holds_up_no_stop(tmp_path, rabbit, how):
    path = rabbit_config(
        tmp_path,
        rabbit,
        graceful_shutdown_timeout=GRACE,
        # No beat is in flight when the broker hangs: a call that it holds up cannot be answered, and counts as left.
        compute_agent={"report_interval": 3600},
    )
    running = {
        name: ServiceProcess(tmp_path, service, "--config-file", str(path), *args)
        for name, (service, *args) in COMMANDS.items()
    }
    try:
        for process in running.values():
            process.wait_ready()
        getattr(rabbit, how)()
        if how == "kill":
            # They know it, and try to connect again with growing pauses.
            for name in running:
                running[name].wait_for("is unreachable: ")
        began = time.monotonic()
        for process in running.values():
            process.send(signal.SIGTERM)
        for name, process in running.items():
            code = process.process.wait(GRACE + CLOSING + SLACK)
            assert time.monotonic() - began < GRACE + CLOSING + SLACK
            assert code == 0, f"{name}: {process.stderr}"
            assert "Traceback" not in process.stderr and "_queue.Empty" not in process.stderr, process.stderr
            assert "nothing was left" in process.stderr
    finally:
        for process in running.values():
            process.__exit__()
        if how == "freeze":
            rabbit.thaw()
