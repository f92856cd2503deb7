"""Findings about the state of a log: hosts, what is on them, and events that do not count."""

from collections import Counter

from nova_sched.projection.host_status import DISABLED, FORCED_DOWN
from nova_sched.projection.inventory import closed_providers
from nova_sched.projection.projection import SET_ASIDE
from nova_sched.projection.use import strays_text
from nova_sched.replay.health.finding import FAIL, NEWER, OK, WARN, Finding, some
from nova_sched.replay.health.heard import IDLE, ago, told
from nova_sched.replay.logs.moments import stamp
from nova_sched.replay.logs.reading import holding
from nova_sched.replay.state.hosts import counted
from rpc_api.clock import spelled
from rpc_api.codec import Event
from rpc_api.wording import number_of

#: Codes of set-aside events that are in the findings on schemas and levels.
_ELSEWHERE = (*NEWER, "newer-level")


def of_hosts(cell, heard, intervals):
    count = sum(heard.counts.values())
    if count:
        lost = heard.counts["lost"]
        named = f"; lost: {some(heard.lost)}" if lost else ""
        to_do = (
            f"check the machines and nova-sched-agents of {number_of(lost, 'lost host')}"
            if lost
            else "they get no instances; enable them when they are ready"
            if heard.counts[DISABLED] or heard.counts[FORCED_DOWN]
            else ""
        )
        yield Finding(cell, "hosts", FAIL if lost else OK, counted(heard.counts) + named, to_do)
        limit = spelled(intervals.silent_ns / 1e9)
        if heard.silent:
            silent = {host: f"{host} {ago(at_ns, heard.at_ns)}" for host, at_ns in heard.silent.items()}
            yield Finding(
                cell,
                "agents",
                FAIL,
                f"{len(silent)} of {number_of(count, 'host')} are not marked as lost, but their agents have "
                f"published nothing for more than {limit}; last events: {some(silent.values())}",
                "check that agents and the conductor of the cell are running; if [compute_agent] confirm_interval is "
                "not the default, name the services' --config-file",
            )
        else:
            yield Finding(cell, "agents", OK, f"{number_of(heard.agents, 'agent')} heard within {limit}")
    yield Finding(cell, "services", OK, f"last heard: {told(heard.services, heard.at_ns)}; {IDLE}")


def of_strays(cell, projection):
    strays = [f"{host.name} has {strays_text(host)}" for host in projection.hosts.values() if host.unreported]
    if strays:
        yield Finding(
            cell,
            "stray use",
            WARN,
            f"instances on {number_of(len(strays), 'host')} use providers or resource classes that are not "
            f"reported there: {some(strays)}",
            "check whether these hosts got another name, other CPU sets or other devices; change that back, or move "
            "the instances",
        )


def of_closed(cell, projection):
    faults = [
        f"{host.name}: {fault}" for host in projection.hosts.values() for fault in closed_providers(projection, host)
    ]
    if faults:
        yield Finding(
            cell,
            "closed providers",
            WARN,
            f"{number_of(len(faults), 'provider offers', 'providers offer')} nothing, because of a fault in a report: "
            f"{some(faults)}",
            "fix the inventories or traits that the agents of these hosts report",
        )


def of_waiting(cell, projection, log, at_ns, intervals):
    """Give a finding if hosts wait for their root providers, which Placement's API must create."""
    since = {host.name: _waits_since(log, host.name, root) for root, host in projection.waiting.items()}
    long = [name for name, since_ns in since.items() if since_ns is not None and at_ns - since_ns > intervals.silent_ns]
    if since:
        waiting = [
            f"{host.name} for {root}, reported {ago(since[host.name], at_ns)}"
            for root, host in sorted(projection.waiting.items(), key=lambda item: item[1].name)
        ]
        yield Finding(
            cell,
            "waiting",
            WARN if long else OK,
            number_of(
                len(since), "host waits for its root provider and gets", "hosts wait for their root providers and get"
            )
            + f" no instances: {some(waiting)}",
            "check that nova-compute of these hosts uses the Placement endpoint of this log, and that the uuid of its "
            "compute node is that of its resource provider"
            if long
            else "",
        )


def _waits_since(log, host, root):
    """The time since when a host waits for a root provider; None if the log does not have it any more."""
    since_ns = None
    for _, record in holding(log, (root.encode(),)):
        for event in record.events:
            if not isinstance(event, Event):
                continue
            if event.name == "ProviderDeleted" and event.data.provider_uuid == root:
                since_ns = event.at_ns
            elif event.name == "HostReported" and event.data.host == host and since_ns is None:
                since_ns = event.at_ns
    return since_ns


def of_set_aside(cell, projection, times, at_ns, intervals):
    """A finding about the events that were set aside in the last records (``times``: position -> time in ns, or None).
    Events of newer versions and levels are in other findings."""
    aside = [event for event in projection.quarantine if event.position in times and event.code not in _ELSEWHERE]
    if not aside:
        before = projection.counts[SET_ASIDE]
        return Finding(
            cell,
            "set aside",
            OK,
            f"no event of the last {number_of(len(times), 'record')}" + (f", {before:,} before" if before else ""),
        )
    last = aside[-1]
    last_ns = times[last.position]
    over = last_ns is not None and at_ns - last_ns > intervals.silent_ns
    by_code = ", ".join(f"{count} {code}" for code, count in Counter(event.code for event in aside).most_common())
    return Finding(
        cell,
        "set aside",
        OK if over else WARN,
        f"{number_of(len(aside), 'event does', 'events do')} not count: {by_code}"
        + (f", the last at {stamp(last_ns)}" if last_ns is not None else "")
        + (", which is over" if over else "")
        + f": {last.reason}",
        ""
        if over
        else "see nova-sched-replay quarantine; what to do: docs/operating/runbooks/NovaSchedEventsSetAside.md",
    )
