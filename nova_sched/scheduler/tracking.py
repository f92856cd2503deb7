"""What nova-compute reports about the instances of a host, as an event for its cell's log."""

import logging

from rpc_api import events

LOG = logging.getLogger(__name__)


def tracked_changes(projections, host, instances, gone=(), all_of_them=False):
    """(cell, InstancesTracked) with the instances that the log of the host's cell does not have yet; None without any.

    ``instances`` maps an instance uuid to the properties of its image, ``gone`` names instances that left the host.
    With ``all_of_them`` those that are not in ``instances`` are gone.
    """
    cell = next((cell for cell, projection in projections.items() if host in projection.hosts), None)
    if cell is None:
        LOG.debug("the report about the instances of %s is not recorded: no cell has such a host", host)
        return None
    projection = projections[cell]
    tracked, entries = projection.tracked.of(host), projection.hosts[host].entries
    if all_of_them:
        gone = tracked.keys() - instances.keys()
    fresh = {
        uuid: properties
        for uuid, properties in instances.items()
        if uuid not in entries
        and (uuid not in tracked or (properties and tracked[uuid].image_properties != properties))
    }
    gone = sorted(uuid for uuid in gone if uuid in tracked)
    if not fresh and not gone:
        return None
    added = tuple(events.TrackedInstance(uuid, properties) for uuid, properties in sorted(fresh.items()))
    return cell, events.InstancesTracked(host, added, tuple(gone))
