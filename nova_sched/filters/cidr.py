"""SimpleCIDRAffinityFilter: refuses hosts whose address is not in the network that hints name."""

import ipaddress
from functools import lru_cache

import numpy as np

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import Finding
from nova_sched.projection.reason import Reason
from rpc_api import errors

NO_ADDRESS = Reason("no address")
OTHER_NETWORK = Reason("other network")
_HALF = 2**64 - 1


class SimpleCIDRAffinityFilter(Filter):
    """With the hint ``build_near_host_ip`` (an address) only hosts pass whose own address is in the network
    of that address and of the length in the hint ``cidr`` (``/24`` unless it is given; a netmask does too). Hosts that
    report no address are refused.

    Hints that make no network refuse the request.
    """

    name = "SimpleCIDRAffinityFilter"
    reasons = {
        NO_ADDRESS.code: "the host reports no IP address",
        OTHER_NETWORK.code: "the address of the host is not in the network of the hints",
    }
    follows_use = False

    def seen(self, request):
        return tuple(request.scheduler_hints.get(name, ()) for name in ("build_near_host_ip", "cidr"))

    def refusals(self, hosts, request, policy, scope):
        near, cidr = self.seen(request)
        if near in ((), ("",)):
            return
        network = network_of(near, cidr or ("/24",))
        addresses = hosts.table.derived("addresses", lambda: _Addresses(hosts.table)).renewed()
        mine = addresses.version[hosts.index] == network.version
        for half, (of_network, mask) in zip((addresses.high, addresses.low), _halves(network), strict=True):
            mine &= half[hosts.index] & mask == of_network
        yield Refusal(NO_ADDRESS, addresses.version[hosts.index] == 0)
        yield Refusal(OTHER_NETWORK, ~mine)

    def explain(self, look, reason):
        near, cidr = self.seen(look.request)
        address = look.table.host_ips[look.row]
        network = None if near in ((), ("",)) else str(network_of(near, cidr or ("/24",)))
        return Finding(
            f"the host has {address or 'no address'}, {network} asked",
            {"address": address, "asked": network},
            lambda traces: traces.reported(),
        )


@lru_cache(256)
def network_of(near, cidr):
    """The network of the two hints; UsageError if they make none."""
    try:
        (address,) = near
        (suffix,) = cidr
        if suffix and not suffix.startswith("/"):
            raise ValueError
        return ipaddress.ip_network(address + suffix, strict=False)
    except ValueError:
        raise errors.UsageError(
            f"the hints build_near_host_ip {_shown(near)} and cidr {_shown(cidr)} make no network, wanted an address "
            "and a length or netmask as in 192.168.1.5 and /24; fix them"
        ) from None


def _shown(values):
    return ", ".join(repr(value[:80]) for value in values[:4])


@lru_cache(256)
def _halves(network):
    """(network, mask) of the upper and the lower 64 bits."""
    address, mask = int(network.network_address), int(network.netmask)
    return [(np.uint64(address >> shift & _HALF), np.uint64(mask >> shift & _HALF)) for shift in (64, 0)]


class _Addresses:
    """The addresses of all hosts as numbers: ``version`` (0: none, 4, 6) and their 128 bits in ``high`` and ``low``."""

    def __init__(self, table):
        self.table = table
        self.version = np.zeros(table.count, np.uint8)
        self.high, self.low = np.zeros(table.count, np.uint64), np.zeros(table.count, np.uint64)
        self.texts = [None] * table.count
        self._seen = table.touched.version
        self._read(table.roots().tolist())

    def renewed(self):
        """The same after looking again at hosts that were touched."""
        touched = self.table.touched.since(self._seen)
        self._seen = self.table.touched.version
        roots = self.table.roots().tolist() if touched is None else [row for row in touched if self.table.is_host[row]]
        self._read([row for row in roots if self.table.host_ips[row] != self.texts[row]])
        return self

    def _read(self, rows):
        for row in rows:
            text = self.texts[row] = self.table.host_ips[row]
            self.version[row], self.high[row], self.low[row] = _number_of(text)


@lru_cache(2**17)
def _number_of(text):
    """Version, upper and lower 64 bits of an address; version 0 for any other text."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0, 0, 0
    return address.version, int(address) >> 64, int(address) & _HALF
