"""The errors that a nova-conductor understands.

oslo.messaging sends an error as the names of its module and its class, its
arguments and its ``kwargs``, and the receiver makes it again if it allows
that module. A nova-conductor allows ``nova.exception`` alone, so that is what
these classes say their module is; from any other module it would see a
``RemoteError``, and would not put a server back into its former state.

The text of ``reason`` ends up in the fault of the server: its user reads it.
"""

from typing import Any

MODULE = "nova.exception"


class NovaException(Exception):
    """Base: the message is ``template`` filled with the keyword arguments, which travel along as ``kwargs``."""

    __module__ = MODULE
    template = "{reason}"
    code = 500

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        self.kwargs = kwargs
        self.kwargs.setdefault("code", self.code)
        # The receiver makes the error from the whole message and the arguments, and so may we when we are one.
        super().__init__(message if message is not None else self.template.format(**kwargs))


class NoValidHost(NovaException):
    """No host takes the request. The conductor puts the server into error, or back where it was."""

    __module__ = MODULE
    template = "No valid host was found. {reason}"


class MaxRetriesExceeded(NoValidHost):
    """The request was tried as often as it may be."""

    __module__ = MODULE
    template = "Exceeded maximum number of retries. {reason}"


class ServiceUnavailable(NovaException):
    """The scheduler cannot say now whether there is a host: a log, Neutron or the scheduler itself fails. The conductor
    puts a server that was to be built into error, and leaves one that was to be moved where it is."""

    __module__ = MODULE
    template = "Service is unavailable at this time. {reason}"


class ComputeServiceUnavailable(ServiceUnavailable):
    """The same, as a live migration must be told: of another class it puts the running server into error."""

    __module__ = MODULE


class RequestFilterFailed(NovaException):
    """The request contradicts itself, or what it needs cannot be worked out."""

    __module__ = MODULE
    template = "Scheduling failed: {reason}"


class UnsupportedPolicyException(NovaException):
    """The policy of the server group cannot be honoured, because its filter is not enabled."""

    __module__ = MODULE
    template = "ServerGroup policy is not supported: {reason}"
    code = 400


class AllocationUpdateFailed(NovaException):
    """Someone else changed the allocation of the same consumer; a move of the server gives up."""

    __module__ = MODULE
    template = "Failed to update allocations for consumer {consumer_uuid}. Error: {error}"
