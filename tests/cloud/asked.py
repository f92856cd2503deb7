"""What the checks of the test cloud ask of it, and how they wait for the answers."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import openstack

cloud = openstack.connect(compute_api_version="2.96", placement_api_version="1.39")
nova, placement = cloud.compute, cloud.placement
IMAGE = cloud.image.find_image("tiny").id
OTHER_IMAGE = cloud.image.find_image("tiny-alt").id
NETWORK = cloud.network.find_network("private").id
FLAVOR = {name: nova.find_flavor(name).id for name in ("m1.tiny", "m1.small", "m1.quarter", "m1.huge")}
#: Seconds between two looks at a server.
LOOK = 0.05
#: Seconds in which Placement forgets what a deleted server held: Nova says so after the server is gone.
FORGOTTEN = 10
#: What each check found, in the order of the checks, and what was not as it should be.
rows, wrong = [], []


def provider_names() -> dict:
    """Return uuid -> name of all resource providers."""
    return {provider.id: provider.name for provider in placement.resource_providers()}


def hosts_up() -> list:
    """Return the names of the hosts whose nova-compute is up."""
    return sorted(service.host for service in nova.services(binary="nova-compute") if service.state == "up")


def service_of(host):
    """Return the service of a host's nova-compute."""
    return next(iter(nova.services(binary="nova-compute", host=host)))


def wait(for_what: str, look, seconds: float = 120):
    """Return what ``look()`` returns as soon as that is true."""
    end = time.time() + seconds
    while time.time() < end:
        found = look()
        if found:
            return found
        time.sleep(LOOK)
    raise SystemExit(f"{for_what}: not there after {seconds:.0f} s")


def create(name, flavor="m1.tiny", network="none", **more):
    """Ask for a server; it is not there yet."""
    more.setdefault("networks", network)
    return nova.create_server(name=name, flavor_id=FLAVOR[flavor], image_id=IMAGE, **more)


def settle(server, *states, seconds=120):
    """Return a server when it is in one of some states, or in ERROR, or after some seconds."""
    end = time.time() + seconds
    while time.time() < end:
        server = nova.get_server(server.id)
        if server.status in states or (server.status == "ERROR" and "ERROR" not in states):
            if not server.task_state:
                return server
        time.sleep(LOOK)
    return server


def allocations(consumer, names=None):
    """Return name of provider -> resources of what a consumer holds."""
    names = names or provider_names()
    body = placement.get(f"/allocations/{consumer}").json()["allocations"]
    return {names.get(uuid, uuid): held["resources"] for uuid, held in sorted(body.items())}


def note(**row):
    """Keep and print a row."""
    rows.append(row)
    print(json.dumps(row), flush=True)


def expect(is_so, what):
    """Note what is not as it should be; :func:`finish` ends the process with an error then."""
    if not is_so:
        wrong.append(what)
        print(f"wrong: {what}", flush=True)


def row(what, servers, began, wanted=("ACTIVE",), **more):
    """Note in which states some servers are, on which hosts, with which faults, and what they hold. ``wanted`` are the
    states in which they should be: one for all, or one for each, in any order."""
    states = sorted(server.status for server in servers)
    expect(
        states == sorted(wanted if len(wanted) > 1 else wanted * max(1, len(servers))),
        f"{what}: {states}, wanted {wanted}",
    )
    names = provider_names()
    faults = [server.fault["message"] for server in servers if getattr(server, "fault", None)]
    note(
        what=what,
        states=[server.status for server in servers],
        hosts=[server.compute_host for server in servers],
        seconds=round(time.time() - began, 2),
        placement=[allocations(server.id, names) for server in servers],
        **more,
        **({"faults": faults} if faults else {}),
    )


def gone(*servers):
    """Delete servers. Returns the seconds that it took, and what they still hold."""
    began = time.time()
    for server in servers:
        nova.delete_server(server.id, ignore_missing=True)
    for server in servers:
        wait(f"the end of {server.id}", lambda server=server: not nova.find_server(server.id, ignore_missing=True))
    seconds = round(time.time() - began, 2)
    return seconds, [_left(server) for server in servers]


def _left(server):
    """Return what a deleted server still holds: nothing, in a moment."""
    end = time.time() + FORGOTTEN
    while (held := allocations(server.id)) and time.time() < end:
        time.sleep(LOOK)
    expect(not held, f"the deleted server {server.id} holds {held}")
    return held


def boot(what, *states, flavor="m1.tiny", **more):
    """Create a server, wait for it, and note it."""
    began = time.time()
    states = states or ("ACTIVE",)
    server = settle(create("prove", flavor, **more), *states)
    row(what, [server], began, states)
    return server


def refused(what, call, *args, **more):
    """Note how nova-api answers a call that it should refuse."""
    began = time.time()
    try:
        call(*args, **more)
        answer = "accepted"
    except openstack.exceptions.HttpException as fault:
        answer = f"{fault.status_code} {fault.details or fault.message}"
    expect(answer.startswith("4"), f"{what}: {answer}")
    note(what=what, answer=answer, seconds=round(time.time() - began, 2))


@contextmanager
def zone(name, *hosts) -> Iterator[str]:
    """An availability zone of some hosts."""
    aggregate = nova.create_aggregate(name=name, availability_zone=name)
    for host in hosts:
        nova.add_host_to_aggregate(aggregate.id, host)
    try:
        yield name
    finally:
        for host in hosts:
            nova.remove_host_from_aggregate(aggregate.id, host)
        nova.delete_aggregate(aggregate.id)


def finish(path=None):
    """Write the rows to a file, if one is named, one row per line. End the process with an error if something was not
    as it should be."""
    if path is not None:
        with open(path, "w") as out:
            out.write("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    if wrong:
        sys.exit(f"{len(wrong)} of the checks did not end as they should: " + "; ".join(wrong))
