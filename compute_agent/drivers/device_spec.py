"""``[pci] device_spec``: which PCI devices of a machine instances may get, and their tags. The form is
Nova's.

Each spec is JSON: ``vendor_id``, ``product_id``, and either ``address`` (``0000:0a:00.1`` with ``*`` or nothing for any
part, or regular expressions by ``domain``, ``bus``, ``slot`` and ``function``) or ``devname``, the name of a network
interface, choose devices; the address or interface of a physical function chooses its virtual functions, too. All other
keys are tags. A device is what the first spec that chooses it says. Devices with ``remote_managed`` are taken as they
are: their serial number is not looked at.
"""

import json
import re
from typing import NamedTuple

from oslo_utils import strutils

from rpc_api import errors, events

_PARTS = {"domain": (4, 0xFFFF), "bus": (2, 0xFF), "slot": (2, 0x1F), "function": (1, 7)}
#: Tags that are "true" or "false", however they are written.
_FLAGS = ("managed", "live_migratable", "one_time_use")
#: Tags that only Placement uses: they do not divide devices into pools.
_NOT_OF_POOLS = ("resource_class", "traits", "rp_uuid", "rp_uuids")
_NETWORKED = ("type-VF", "type-PF", "vdpa")


class DeviceSpec(NamedTuple):
    """``address`` has a regular expression for each part of an address,
    ``devname`` is the name of an interface or None."""

    vendor_id: str | None
    product_id: str | None
    address: tuple
    devname: str | None
    tags: dict

    def chooses(self, device, types) -> bool:
        """Whether this spec chooses a Device; ``types`` are those of all devices, by address."""
        if self.vendor_id not in (None, device.vendor_id) or self.product_id not in (None, device.product_id):
            return False
        if self.devname is not None:
            return self.devname in (*device.interfaces, *device.parent_interfaces)
        return self._is_at(device.address) or (
            device.parent is not None
            and self._is_at(device.parent)
            and (self._is_single and types.get(device.parent) == "type-PF")
        )

    @property
    def _is_single(self):
        return all(re.fullmatch("[0-9a-f]+", part) for part in self.address)

    def _is_at(self, address):
        return all(re.match(wanted, part) for wanted, part in zip(self.address, re.split("[:.]", address), strict=True))


def specs_of(texts) -> tuple[DeviceSpec, ...]:
    """The specs of the option's values; UsageError names one that makes no sense."""
    specs = []
    for text in texts:
        try:
            found = json.loads(text)
            specs += map(_spec, found if isinstance(found, list) else [found])
        except (ValueError, TypeError, AttributeError, re.error) as fault:
            raise errors.UsageError(f"[pci] device_spec has {text[:200]!r}, which is none ({fault}); fix it") from None
    return tuple(specs)


def _spec(facts):
    if not isinstance(facts, dict):
        raise ValueError("wanted a JSON object or a list of them")
    facts = dict(facts)
    vendor_id, product_id = (_id(name, facts.pop(name, None)) for name in ("vendor_id", "product_id"))
    address, devname = facts.pop("address", None), facts.pop("devname", None)
    if address and devname:
        raise ValueError("wanted an address or a devname, not both")
    if any(isinstance(value, (list, dict)) for value in facts.values()):
        raise ValueError("wanted text for each tag")
    tags = {name: None if value is None else str(value) for name, value in facts.items()}
    tags |= {name: str(strutils.bool_from_string(tags[name], strict=True)).lower() for name in _FLAGS if name in tags}
    if not {"numa_node", "count"}.isdisjoint(tags):
        raise ValueError("a tag cannot be called numa_node or count")
    return DeviceSpec(vendor_id, product_id, _address(address or ""), devname, tags)


def _id(name, text):
    if not isinstance(text, (str, type(None))):
        raise ValueError(f"{name} is {text}, wanted text")
    if text is None or text.strip() == "*":
        return None
    return _hex(name, text, 4, 0xFFFF)


def _hex(name, text, width, largest):
    number = int(text, 16)
    if not 0 <= number <= largest:
        raise ValueError(f"{name} is {text}, wanted at most {largest:X}")
    return f"{number:0{width}x}"


def _address(address):
    """A regular expression for each part of an address."""
    if isinstance(address, dict):
        return tuple(re.compile(address.get(name, ".*")).pattern for name in _PARTS)
    if not isinstance(address, str):
        raise ValueError(f"the address is {address}, wanted text or regular expressions by part")
    front, _, function = address.partition(".")
    front = front.split(":")
    if len(front) > 3:
        raise ValueError(f"the address {address} has too many parts")
    parts = [*["*"] * (3 - len(front)), *front, function]
    return tuple(
        ".*" if part.strip() in ("", "*") else _hex(name, part, *_PARTS[name])
        for name, part in zip(_PARTS, parts, strict=True)
    )


def pools_of(devices, specs) -> tuple:
    """PCIPool records of the devices that some specs choose, in the order of their addresses."""
    counts, types = {}, {device.address: device.dev_type for device in devices}
    for device in devices:
        spec = next((device_spec for device_spec in specs if device_spec.chooses(device, types)), None)
        if spec is not None:
            key = device.vendor_id, device.product_id, device.numa_node, tuple(sorted(_tags(device, spec).items()))
            counts[key] = counts.get(key, 0) + 1
    return tuple(
        events.PCIPool(vendor_id, product_id, numa_node, dict(tags), count)
        for (vendor_id, product_id, numa_node, tags), count in counts.items()
    )


def _tags(device, spec):
    """Devices of one physical function are alike; those of another are in another pool."""
    tags = {name: value for name, value in spec.tags.items() if name not in _NOT_OF_POOLS}
    tags |= {"dev_type": device.dev_type, "address": device.parent or device.address}
    if device.parent_interfaces:
        tags["parent_ifname"] = device.parent_interfaces[0]
    if device.dev_type in _NETWORKED and tags.get("remote_managed") is None:
        tags["remote_managed"] = "false"
    return tags
