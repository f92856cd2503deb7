"""Nova's PCI stats and PciPassthroughFilter answer here.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import functools
import logging
import types

import nova.conf
from nova import exception, objects
from nova.objects import base, pci_device_pool
from nova.pci import stats, whitelist
from nova.scheduler import host_manager, utils
from nova.scheduler.filters import pci_passthrough_filter

logging.disable(logging.CRITICAL)
objects.register_all()
nova.conf.CONF([], default_config_files=[])
EVERYTHING = whitelist.Whitelist(None)
FILTER = pci_passthrough_filter.PciPassthroughFilter()


@functools.cache
def _topology(*sockets):
    return objects.NUMATopology(
        cells=[objects.NUMACell(id=number, socket=socket) for number, socket in enumerate(sockets)]
    )


@functools.cache
def _cell(number):
    return objects.InstanceNUMACell(id=number)


def _stats(case):
    pools = [
        objects.PciDevicePool(
            vendor_id=one["vendor_id"],
            product_id=one["product_id"],
            numa_node=one["numa_node"],
            tags=one["tags"],
            count=one["count"] - one["used"],
        )
        for one in case["pools"]
        if one["count"] > one["used"]
    ]
    return stats.PciDeviceStats(
        _topology(*case.get("sockets", ())), pci_device_pool.PciDevicePoolList(objects=pools), EVERYTHING
    )


def _requests(case):
    return [
        objects.InstancePCIRequest(
            count=one["count"],
            spec=one["spec"],
            alias_name=one["alias"],
            request_id=one["id"],
            numa_policy=one["policy"],
        )
        for one in case["requests"]
    ]


def _apply(found, requests, mappings, cells):
    """What is left after some requests, how many devices they took, and how many they should have taken;
    None where they are refused. ``found`` is changed."""
    before = sum(pool["count"] for pool in found.pools)
    wanted = sum(len(found._get_rp_uuids_for_request(mappings, request)) or request.count for request in requests)
    try:
        found.apply_requests(requests, mappings, cells)
    except exception.PciDeviceRequestFailed:
        return None
    return list(found), before - sum(pool["count"] for pool in found.pools), wanted


def placed(cases):
    """For each case what :func:`_apply` says. support_requests, which is the same on a copy, is asked now and then."""
    answers = []
    for number, case in enumerate(cases):
        found, requests = _stats(case), _requests(case)
        cells = [_cell(number) for number in case["cells"]] if case["cells"] else None
        supported = found.support_requests(requests, case["mappings"], cells) if number % 10 == 0 else None
        answers.append(_apply(found, requests, case["mappings"], cells))
        if supported is not None and supported != (answers[-1] is not None):
            raise AssertionError(case)
    return answers


def filtered(cases):
    """For each case, whether the host passes the filter, and whether it does with a
    candidate that is served in full."""
    answers = []
    for case in cases:
        state, requests = host_manager.HostState("h", "n", "c"), _requests(case)
        state.pci_stats = _stats(case)
        state.allocation_candidates = [{"mappings": mappings} for mappings in case["candidates"]]
        spec = types.SimpleNamespace(pci_requests=objects.InstancePCIRequests(requests=requests))
        passes = FILTER.host_passes(state, spec)
        whole = (
            _apply(_stats(case), requests, one["mappings"], None)
            for one in (state.allocation_candidates if passes else ())
        )
        answers.append([passes, any(taken == wanted for _, taken, wanted in whole)])
    return answers


def grouped(specs):
    """For each RequestSpec, how nova-api sends it on with pci_in_placement,
    and the groups that nova's scheduler makes of
    that: suffix -> resources and required traits."""
    nova.conf.CONF.set_override("pci_in_placement", True, "filter_scheduler")
    answers = []
    for primitive in specs:
        spec = base.NovaObject.obj_from_primitive(primitive)
        spec.generate_request_groups_from_pci_requests()
        sent = spec.obj_to_primitive()
        asked = utils.resources_from_request_spec(None, spec, None)
        answers.append(
            [
                sent,
                {
                    name or "": [group.resources, sorted(group.required_traits)]
                    for name, group in asked._rg_by_id.items()
                },
                asked.group_policy,
            ]
        )
    return answers


SPECS = [f'{{"vendor_id": "8086", "product_id": "{product}"}}' for product in ("1520", "1521", "101e")]
CARDS = whitelist.Whitelist(SPECS)


def _device(number, address, product, kind, parent):
    return objects.PciDevice(
        id=number,
        dev_id=address,
        address=address,
        vendor_id="8086",
        product_id=product,
        numa_node=None,
        status="available",
        dev_type=kind,
        parent_addr=parent,
        extra_info={},
        compute_node_id=1,
        request_id=None,
        label="",
    )


def _devices(cards):
    """Address -> PciDevice of some cards: (address, kind and number of the virtual functions)."""
    found = {}
    for address, kind, count in cards:
        whole = _device(len(found), address, "1521", "type-PF", None)
        found[address] = whole
        product = "101e" if kind == "vdpa" else "1520"
        names = [f"{address[:-1]}{number}" for number in range(1, count + 1)]
        parts = [_device(len(found) + place, name, product, kind, address) for place, name in enumerate(names)]
        whole.child_devices = parts
        for part in parts:
            part.parent_device = whole
            found[part.address] = part
    return found


def _left(found):
    return [{name: value for name, value in pool.items() if name != "devices"} for pool in found if pool["count"]]


def carded(cases):
    """For each case the pools of all cards; what is left with some devices in use, and after some of these are free
    again; how many devices some requests then take (None where they are refused, "broken" where Nova fails), and what
    is left after that."""
    answers = []
    for case in cases:
        devices = _devices(case["cards"])
        found = stats.PciDeviceStats(objects.NUMATopology(cells=[]), dev_filter=CARDS)
        for device in devices.values():
            found.add_device(device)
        every = _left(found)
        for address in case["used"]:
            found.remove_device(devices[address])
            found._handle_device_dependents(devices[address])
            devices[address].claim("11111111-1111-4111-8111-111111111111")
        used = _left(found)
        for address in case["freed"]:
            for device in devices[address].free():
                found.add_device(device)
        freed = _left(found)
        try:
            taken = len(found.consume_requests(_requests(case)))
        except exception.PciDeviceRequestFailed:
            taken = None
        except IndexError:
            # One request may have both functions of a card, and the first one that it took emptied the other pool.
            taken = "broken"
        answers.append([every, used, freed, taken, _left(found)])
    return answers


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (placed, filtered, grouped, carded)
