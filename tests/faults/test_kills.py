"""Services are killed (SIGKILL) at random moments under load and restarted at once, many times over."""

import random
import time
from contextlib import ExitStack

import pytest

from rpc_api.clock import SYSTEM
from tests.faults.load import Cloud, Load, Tap, audit
from tests.servers import wait_until

pytestmark = pytest.mark.rabbit

SEED = 1
#: How many more requests are made until the next one is killed: from before it is ready to well behind that.
REQUESTS_BETWEEN = (10, 240)
SCHEDULERS, CONDUCTOR, AGENT, API = ("scheduler-1", "scheduler-2"), "conductor-1.cell1", "agent.cell1", "api-1"
#: Claims that nobody builds are to expire within the test.
QUICK = {
    "conductor": {"claim_ttl": 6, "build_timeout": 5, "cancel_timeout": 2},
    "DEFAULT": {"rpc_response_timeout": 10},
}


def kept(directory):
    """A configuration that keeps snapshots as often as it can be."""
    return {"snapshots": {"url": f"file://{directory}/snapshots", "interval": 1}}


def kill_over_and_over(cloud, load, names, times, chance):
    """Kill services, each in its turn, at moments that ``chance`` draws; returns when all of them are ready again."""
    for number in range(times):
        name = names[number % len(names)]
        cloud.kill(name)
        cloud.begin(name)
        load.wait_asked(chance.randint(*REQUESTS_BETWEEN))
    cloud.wait_ready()


def check_registered(cloud, tap, since_ns):
    """Agents that were started after a moment (wall clock, ns) have reported all of their hosts."""

    def reported():
        producers = tap.projection().producers
        return all(producers.get(f"compute_agent/{host}", (0, 0))[0] > since_ns for host in tap.projection().hosts)

    wait_until(reported, 30, "the agents that were restarted have not reported all of their hosts")


def killed(what, directory, rabbit, vhost, names, times, loads=(False,), rate=40.0, selections=150, **how):
    """Kill services under one load for each of ``loads`` (whether it builds), and audit what is left;
    returns what is wrong, a sentence each."""
    changes = {**QUICK, **how}
    with ExitStack() as stack:
        cloud = stack.enter_context(
            Cloud(
                directory,
                rabbit.url(vhost=vhost),
                lambda name: rabbit.url(name, vhost),
                vcpus=1024,
                api_conductors=int(any(loads)),
                **changes,
            )
        )
        tap = stack.enter_context(Tap("cell1", cloud.logs["cell1"]))
        running = [stack.enter_context(Load(cloud, rate / len(loads), builds=builds)) for builds in loads]
        for load in running:
            load.wait_selected(selections)
        began = time.monotonic()
        with ExitStack() as faults:
            for load in running:
                faults.enter_context(load.fault())
            killed_at_ns = SYSTEM.now_ns()
            kill_over_and_over(cloud, running[0], names, times, random.Random(SEED))
        for load in running:
            load.wait_selected(selections)
        for load in running:
            load.stop()
        expired = tap.wait_expired()
        if AGENT in names:
            check_registered(cloud, tap, killed_at_ns)
        found = [audit(cloud, load, {"cell1": tap}) for load in running]
        for load, findings in zip(running, found, strict=False):
            print(findings.row(f"{what}{', builds' if load.builds else ''}"))
        print(
            f"seed {SEED}; {times} kills in {load.faulty[1] - began:.0f} s; claims had expired {expired:.1f} s after "
            f"the load; the log was rebased {tap.projection().counts['LogRebased']} times"
        )
        lost = [f"{name} is lost" for name, host in tap.projection().hosts.items() if host.lost]
        return [*(wrong for findings in found for wrong in findings.wrong()), *lost]


def test_each_service_is_killed_once(tmp_path, rabbit_server, vhost):
    names = (SCHEDULERS[0], CONDUCTOR, AGENT)
    assert (
        killed(
            "a scheduler, the cell conductor and the agent are killed and restarted",
            tmp_path,
            rabbit_server,
            vhost,
            names,
            len(names),
            selections=40,
            **kept(tmp_path),
        )
        == []
    )


#: Who is killed -> (which loads are run, who).
KILLED = {
    "schedulers": ((False,), SCHEDULERS),
    "cell-conductor": ((True,), (CONDUCTOR,)),
    "agent": ((True,), (AGENT,)),
    "API-conductor": ((True,), (API,)),
    "all": ((False, True), (*SCHEDULERS, CONDUCTOR, AGENT, API)),
}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("snapshots", [False, True], ids=["log", "snapshots"])
@pytest.mark.parametrize("who", KILLED)
def test_killed_over_and_over(tmp_path, rabbit_server, vhost, who, snapshots):
    loads, names = KILLED[who]
    how = "snapshots every second" if snapshots else "no snapshots"
    assert (
        killed(
            f"SIGKILL, 20 times: {who}, {how}",
            tmp_path,
            rabbit_server,
            vhost,
            names,
            20,
            loads,
            **(kept(tmp_path) if snapshots else {}),
        )
        == []
    )
