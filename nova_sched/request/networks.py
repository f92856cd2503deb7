"""The networks of a request, from Neutron: segments, and ports that a remote device manages.

Two of Nova's request filters ask Neutron: routed_networks_filter (if
``query_placement_for_routed_network_aggregates`` is set) and
remote_managed_ports_filter (for every port that a request names). Here Neutron
is asked once, in the thread of the RPC call, before the request is queued. The
answer becomes a part of the request, so a replay needs no Neutron.
"""

import abc
from typing import NamedTuple

from nova_sched.request.from_spec import recordable
from rpc_api import errors

REMOTE_MANAGED = "remote-managed"
REMOTE_MANAGED_TRAIT = "COMPUTE_REMOTE_MANAGED_PORTS"
#: The values in place of a network's uuid if no network is named.
NO_NETWORKS = ("auto", "none")
#: Each network or port needs one or two calls of Neutron.
MAX_NETWORKS = 256


class Port(NamedTuple):
    """A port: the subnet of its first address (None: it has no address yet), its network, and the type of its NIC."""

    subnet_id: str | None
    network_id: str
    vnic_type: str


class Networks(abc.ABC):
    """The source of networks and ports. All methods raise UsageError for an unknown one, ServiceUnavailable if Neutron
    does not answer."""

    @abc.abstractmethod
    def port(self, port_id: str) -> Port:
        """Return a port by its uuid."""

    @abc.abstractmethod
    def segments_of_network(self, network_id: str) -> list[str]:
        """Return the uuids of the segments of a network's subnets; none if the network is not a routed one."""

    @abc.abstractmethod
    def segment_of_subnet(self, subnet_id: str) -> str | None:
        """Return the uuid of a subnet's segment; None if its network is not a routed one."""


class NotConfigured(Networks):
    """Without Neutron: each question is a UsageError that names its reason."""

    def port(self, port_id):
        raise _not_configured(f"the port {port_id}", "its kind decides which hosts can have it")

    def segments_of_network(self, network_id):
        raise _not_configured(f"the network {network_id}", ROUTED)

    def segment_of_subnet(self, subnet_id):
        raise _not_configured(f"the subnet {subnet_id}", ROUTED)


ROUTED = "[scheduler] query_placement_for_routed_network_aggregates is set"


def _not_configured(what, why):
    return errors.UsageError(
        f"Neutron must be asked for {what} ({why}), and [neutron] auth_type is not set; configure "
        "[neutron] for the scheduler"
    )


def with_networks(request, spec, networks: Networks, routed: bool):
    """Return the request with Neutron's answers for the networks that its RequestSpec names; with ``routed`` also for
    their segments."""
    wanted = spec.requested_networks
    if request.check_only or not wanted:
        return request
    if len(wanted) > MAX_NETWORKS:
        raise errors.UsageError(
            f"the request names {len(wanted)} networks and ports, wanted at most {MAX_NETWORKS}; name fewer"
        )
    segments, remote_managed = [], False
    for network in wanted:
        port = networks.port(network.port_id) if network.port_id else None
        remote_managed |= port is not None and port.vnic_type == REMOTE_MANAGED
        if routed:
            segments.append(tuple(sorted(set(_segments(network, port, networks)))))
    segments = tuple(dict.fromkeys(filter(None, segments)))
    required = {REMOTE_MANAGED_TRAIT} if remote_managed else set()
    if not segments and not required:
        return request
    return recordable(
        request._replace(segments=segments, root_required=tuple(sorted({*request.root_required, *required})))
    )


def _segments(wanted, port, networks):
    """Return the segments that fit for one network or port."""
    if port is not None and port.subnet_id:
        segment = networks.segment_of_subnet(port.subnet_id)
        return [segment] if segment else []
    network_id = port.network_id if port is not None else wanted.network_id
    return networks.segments_of_network(network_id) if network_id and network_id not in NO_NETWORKS else []
