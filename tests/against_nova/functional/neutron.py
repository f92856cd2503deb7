"""Neutron as the scheduler asks it, answered by the Neutron of Nova's fixtures."""

from nova import context
from nova.network import neutron

from nova_sched.request.networks import Networks, Port
from rpc_api import errors


class FixtureNeutron(Networks):
    """The client that Nova has in its tests."""

    def port(self, port_id):
        try:
            found = _client().show_port(port_id)["port"]
        except Exception as fault:
            raise errors.UsageError(f"the port {port_id} is not known to Neutron ({fault}); name another one") from None
        first = (found.get("fixed_ips") or [{}])[0]
        return Port(first.get("subnet_id"), found["network_id"], found.get("binding:vnic_type") or "normal")

    def segments_of_network(self, network_id):
        if not self._has_segments():
            return []
        found = _client().list_subnets(network_id=network_id, fields="segment_id")["subnets"]
        return [subnet["segment_id"] for subnet in found if subnet.get("segment_id")]

    def segment_of_subnet(self, subnet_id):
        return _client().show_subnet(subnet_id)["subnet"].get("segment_id") if self._has_segments() else None

    @staticmethod
    def _has_segments():
        return neutron.API().has_segment_extension(context.get_admin_context(), client=_client())


def _client():
    return neutron.get_client(context.get_admin_context(), admin=True)
