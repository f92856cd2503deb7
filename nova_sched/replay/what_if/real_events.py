"""What the events of the real logs mean for the instances of a what-if.

Events of an instance that was decided here change nothing in this world, except for its end; the others pass. Each
function is called with the Run, the cell and the event.
"""

from nova_sched.replay.what_if.api_writes import OF_CONSUMERS


def _started(run, cell, event):
    instance = run.decided.get(event.data.consumer.instance_uuid)
    if instance is None:
        _pass(run, cell, event)
    else:
        instance.started = True
        run.tally.not_built.discard(instance.uuid)
        instance.runs_at(event.data.host)


def _deleted(run, cell, event):
    instance = run.decided.get(event.data.instance_uuid)
    _pass(run, cell, event)
    if instance is not None and event.data.host == instance.real_host:
        run.leave(instance)


def _proposed(run, cell, event):
    instance = run.decided.get(event.data.instance_uuid)
    if instance is not None:
        instance.runs_at(event.data.host)
    elif event.producer.startswith("conductor/"):
        _pass(run, cell, event)


def _ended(run, cell, event):
    instance = run.decided.get(event.data.consumer_uuid)
    if instance is None:
        _pass(run, cell, event)
    elif event.name == "ClaimExpired" and not instance.started:
        run.tally.not_built.add(instance.uuid)
        run.leave(instance)


def _failed_for_good(run, cell, event):
    instance = run.decided.get(event.data.instance_uuid)
    if instance is not None and event.data.final and not instance.started:
        run.tally.not_built.add(instance.uuid)
        run.leave(instance)


def _moved(run, cell, event):
    if not {event.data.from_consumer_uuid, event.data.to_consumer_uuid} & run.decided.keys():
        _pass(run, cell, event)


def _tracked(run, cell, event):
    instances = tuple(tracked for tracked in event.data.instances if tracked.instance_uuid not in run.decided)
    _pass(run, cell, event._replace(data=event.data._replace(instances=instances)))


def _pass(run, cell, event):
    if getattr(event.data, "host", None) not in run.changes.dropped:
        run.emit(cell, event)


OF_INSTANCES = {
    "InstanceStarted": _started,
    "InstanceDeleted": _deleted,
    "ClaimProposed": _proposed,
    "ClaimReleased": _ended,
    "ClaimExpired": _ended,
    "BuildFailed": _failed_for_good,
    "AllocationMoved": _moved,
    "InstancesTracked": _tracked,
    **OF_CONSUMERS,
}
