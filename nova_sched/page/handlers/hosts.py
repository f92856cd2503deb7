"""The hosts: who they are, how full they are, and everything of one."""

from nova_sched.page.answers import Answer, NotThere, as_json, packed, zipped
from nova_sched.page.frame import STATUSES
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
    """Everything of one host, at a moment, with its last events."""
    page, name = asked.page, asked.needed("name")
    cloud = page.cloud
    at = at_of(cloud, asked.text("at"), page.clock.now_ns())

    def question(world, events):
        for cell, projection in sorted(world.projections.items()):
            host = projection.hosts.get(name)
            if host is not None:
                return details_of(world, cell, host, {}), list(events.get((cell, name), ())), projection.position
        return None, [], None

    if at.is_now:
        details, last_events, position = cloud.ask(question)
    else:
        known = cloud.ask(lambda world, events: {key: list(kept) for key, kept in events.items() if key[1] == name})
        details, last_events, position = page.past.ask(
            at.positions(page.past.source), lambda world: question(world, known)
        )
    if details is None:
        raise NotThere(f"there is no host {name!r} at that moment; check the name, or choose another moment")
    tape = cloud.tapes.get(details["cell"])
    for instance in details["instances"]:
        instance["since"] = stamp(tape.time_of(instance["since_position"]) if tape is not None else None)
    if not at.is_now:
        last_events = [event for event in last_events if event[1] <= position]
    return as_json(
        {
            "moment": at.as_json(),
            **details,
            "events": [
                {
                    "time": stamp(at_ns),
                    "at_ns": str(at_ns),
                    "position": where,
                    "event": event,
                    "by": producer,
                    "instance": instance,
                    "text": text,
                }
                for at_ns, where, event, producer, instance, text in reversed(last_events)
            ],
        }
    )


def instances(asked):
    """The instances of all projects (of those whose uuid begins with ``begin``), or of one's own project."""
    page, project, begin = asked.page, asked.project, asked.text("begin", "")
    cloud = page.cloud
    at = at_of(cloud, asked.text("at"), page.clock.now_ns())

    def question(world, _):
        return [
            row
            for _, projection in sorted(world.projections.items())
            for row in instances_of(projection)
            if row.instance.startswith(begin) and (project is None or row.project == project)
        ]

    rows = (
        cloud.ask(question)
        if at.is_now
        else page.past.ask(at.positions(page.past.source), lambda world: question(world, None))
    )
    shown = [_instance(row, project) for row in rows[:INSTANCES_MAX]]
    return as_json({"moment": at.as_json(), "instances": shown, "count": len(rows)})


def _instance(row, project):
    facts = {"instance": row.instance, "state": row.state, "resources": row.resources}
    if project is None:
        facts.update(cell=row.cell, host=row.host, project=row.project)
    return facts
