"""What a driver is: the agent's way to one hypervisor."""

import abc


class BuildRefused(Exception):
    """The hypervisor cannot start the instance; the text says why."""


class Driver(abc.ABC):
    """One host's hypervisor."""

    @abc.abstractmethod
    def inventory(self):
        """The HostInventory record of the host as it is now."""

    @abc.abstractmethod
    def status(self):
        """The HostStatus record of the host as it is now."""

    @abc.abstractmethod
    def running(self):
        """Consumer records of the instances that run now."""

    @abc.abstractmethod
    def spawn(self, consumer) -> None:
        """Start an instance (a Consumer record); raises BuildRefused when it cannot be started."""

    @abc.abstractmethod
    def destroy(self, instance_uuid: str) -> None:
        """End an instance. Do nothing if it does not run."""
