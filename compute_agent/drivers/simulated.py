"""The simulated driver: a host of given inventory whose instances exist on paper."""

from hashlib import blake2b

from compute_agent.drivers.base import BuildRefused, Driver
from rpc_api import events

UP = events.HostStatus(False, None, False, 0, 0, {})


class SimulatedDriver(Driver):
    """``fail`` is the share of builds that fail (0 to 1), drawn from ``seed``, the instance and the host."""

    def __init__(self, inventory, fail: float = 0.0, seed: int = 0):
        self._inventory = inventory
        self._fail = fail
        self._seed = seed
        self._running = {}
        self.state = UP

    def inventory(self):
        return self._inventory

    def status(self):
        return self.state

    def running(self):
        return tuple(self._running.values())

    def spawn(self, consumer):
        if self._fail and self._draw(consumer.instance_uuid) < self._fail:
            raise BuildRefused("simulated failure")
        self._running[consumer.instance_uuid] = consumer

    def destroy(self, instance_uuid):
        self._running.pop(instance_uuid, None)

    def _draw(self, instance_uuid):
        text = f"{self._seed}/{instance_uuid}/{self._inventory.nodename}"
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
