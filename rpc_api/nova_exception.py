"""The errors that a nova-conductor understands.

oslo.messaging sends an error as the names of its module and its class, its arguments and its ``kwargs``. The receiver
recreates it if it allows that module. A nova-conductor allows only ``nova.exception``, so these classes have that
module. For another module it would get a ``RemoteError``, and would not put a server back into its former state.

The text of ``reason`` becomes the fault of the server, which its user reads.
"""

from typing import Any

MODULE = "nova.exception"


class NovaException(Exception):
    """Base: the message is ``template`` filled with the keyword arguments, which are sent as ``kwargs``."""

    __module__ = MODULE
    template = "{reason}"
    code = 500

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        self.kwargs = kwargs
        self.kwargs.setdefault("code", self.code)
        # The receiver passes the whole message and the arguments; this process may be a receiver, too.
        super().__init__(message if message is not None else self.template.format(**kwargs))


class NoValidHost(NovaException):
    """No host takes the request. The conductor puts the server into error, or back where it was."""

    __module__ = MODULE
    template = "No valid host was found. {reason}"


class MaxRetriesExceeded(NoValidHost):
    """The request was tried the allowed number of times."""

    __module__ = MODULE
    template = "Exceeded maximum number of retries. {reason}"


class ServiceUnavailable(NovaException):
    """The scheduler cannot decide now: a log, Neutron or the scheduler itself fails. The conductor puts a new server
    into error, and leaves a server that should move where it is."""

    __module__ = MODULE
    template = "Service is unavailable at this time. {reason}"


class ComputeServiceUnavailable(ServiceUnavailable):
    """The same for a live migration: an error of another class would put the running server into error."""

    __module__ = MODULE


class RequestFilterFailed(NovaException):
    """The request contradicts itself, or its resources cannot be determined."""

    __module__ = MODULE
    template = "Scheduling failed: {reason}"


class UnsupportedPolicyException(NovaException):
    """The policy of the server group cannot be honoured, because its filter is not enabled."""

    __module__ = MODULE
    template = "ServerGroup policy is not supported: {reason}"
    code = 400


class AllocationUpdateFailed(NovaException):
    """Another process changed the allocation of the same consumer; a move of the server is given up."""

    __module__ = MODULE
    template = "Failed to update allocations for consumer {consumer_uuid}. Error: {error}"
