"""The hosts: who they are, how full they are, and everything of one."""

from nova_sched.page.answers import Answer, NotThere, as_json, packed, zipped
from nova_sched.page.frame import ABSENT, STATUSES
from nova_sched.page.moments import at_of
from nova_sched.replay.logs.moments import stamp
from nova_sched.replay.state.hosts import details_of
from nova_sched.replay.state.instances import instances_of

#: Instances in one answer at most.
INSTANCES_MAX = 500


def topology(asked):
    """The hosts by their numbers: name, cell, zone and aggregates."""
    cloud = asked.page.cloud
    shown = cloud.shown
    found = shown.topology

    def made():
        return packed(
            {
                "topology": found.version,
                "classes": found.classes,
                "statuses": STATUSES,
                "cells": [{"name": name, "hosts": count} for name, count in found.cells],
                "names": found.names,
                "zones": found.zones,
                "aggregates": found.aggregates,
            }
        )

    return _kept(asked.page, ("topology", found.version), made)


def use(asked):
    """How full the hosts are, at a moment."""
    page = asked.page
    cloud, shown = page.cloud, page.cloud.shown
    at = at_of(cloud, asked.text("at"), page.clock.now_ns())
    found = shown.topology
    where = tuple((cell, place.position) for cell, place in sorted(at.places.items()))

    def made():
        frame = cloud.frame(at.places, found)
        return packed(
            {
                "topology": found.version,
                "moment": at.as_json(),
                "status": frame.status.tolist(),
                "instances": frame.instances.tolist(),
                "used": dict(zip(found.classes, frame.used.tolist(), strict=True)),
                "capacity": dict(zip(found.classes, frame.capacity.tolist(), strict=True)),
            }
        )

    return _kept(page, ("use", found.version, at.at_ns, at.is_now, where), made)


def _kept(page, key, make):
    """An answer that is made once for all browsers."""
    body, compressed = page.bodies.get(key, lambda: (body := make(), zipped(body)))
    return Answer(200, body, zipped=compressed)


def one(asked):
    """One host: everything of it now, or what is known of it at another moment; with its last events."""
    page, name = asked.page, asked.needed("name")
    cloud = page.cloud
    at = at_of(cloud, asked.text("at"), page.clock.now_ns())
    found = _host_now(cloud, name) if at.is_now else _host_then(cloud, name, at)
    if found is None:
        raise NotThere(f"there is no host {name!r} at that moment; check the name, or choose another moment")
    details, events = found
    tape = cloud.tapes[details["cell"]]
    for instance in details["instances"]:
        instance["since"] = stamp(tape.time_of(instance["since_position"]))
    return as_json({"moment": at.as_json(), **details, "events": [_event(event) for event in reversed(events)]})


def _host_now(cloud, name):
    """(Everything of a host, its last events) from the fold; None if it is not there."""

    def question(world, events):
        for cell, projection in sorted(world.projections.items()):
            host = projection.hosts.get(name)
            if host is not None:
                return details_of(world, cell, host, {}), list(events.get((cell, name), ()))
        return None

    return cloud.ask(question)


def _host_then(cloud, name, at):
    """The same from the tape, which has less: no providers, and no reason of a status. Zone and aggregates are those of
    now."""
    topology = cloud.shown.topology
    for cell, place in sorted(at.places.items()):
        tape = cloud.tapes[cell]
        number = tape.find(name)
        frame = None if number is None else tape.frame(place)
        if frame is None or number >= len(frame.status) or frame.status[number] == ABSENT:
            continue
        index = topology.names.index(name) if name in topology.names else None
        events = cloud.ask(lambda _, events, cell=cell: list(events.get((cell, name), ())))
        return {
            "cell": cell,
            "host": name,
            "status": STATUSES[frame.status[number]],
            "reason": None,
            "zone": None if index is None else topology.zones[index],
            "aggregates": [] if index is None else [{"name": one} for one in topology.aggregates[index]],
            "amounts": {
                known: {"used": int(frame.used[place_, number]), "capacity": int(frame.capacity[place_, number])}
                for place_, known in enumerate(topology.classes[: len(frame.used)])
                if frame.used[place_, number] or frame.capacity[place_, number]
            },
            "instances": [
                {
                    "instance": resident.instance,
                    "project": resident.project,
                    "state": resident.state,
                    "since_position": resident.position,
                    "resources": resident.resources,
                }
                for resident in cloud.residents[cell].at(number, place.position)
            ],
        }, [event for event in events if event[0] <= at.at_ns]
    return None


def _event(event):
    at_ns, position, name, producer, instance, text = event
    return {
        "time": stamp(at_ns),
        "at_ns": str(at_ns),
        "position": position,
        "event": name,
        "by": producer,
        "instance": instance,
        "text": text,
    }


def instances(asked):
    """The instances of all projects (of those whose uuid begins with ``begin``), or of one's own project."""
    page, project, begin = asked.page, asked.project, asked.text("begin", "")
    cloud = page.cloud
    at = at_of(cloud, asked.text("at"), page.clock.now_ns())

    def is_wanted(instance, of_project):
        return instance.startswith(begin) and (project is None or of_project == project)

    if at.is_now:
        rows = cloud.ask(
            lambda world, _: [
                (row.instance, row.state, row.resources, row.cell, row.host, row.project)
                for _, projection in sorted(world.projections.items())
                for row in instances_of(projection)
                if is_wanted(row.instance, row.project)
            ]
        )
    else:
        rows = [
            (resident.instance, resident.state, resident.resources, cell, name, resident.project)
            for cell, place in sorted(at.places.items())
            for number, name in enumerate(list(cloud.tapes[cell].names))
            for resident in cloud.residents[cell].at(number, place.position)
            if is_wanted(resident.instance, resident.project)
        ]
    names = ("instance", "state", "resources", *(() if project is not None else ("cell", "host", "project")))
    shown = [dict(zip(names, row, strict=False)) for row in rows[:INSTANCES_MAX]]
    return as_json({"moment": at.as_json(), "instances": shown, "count": len(rows)})
