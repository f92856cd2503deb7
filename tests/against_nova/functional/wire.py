"""What nova-compute sends to its conductor.

In Nova's tests a compute service writes its objects into the database itself. So each create, save and destroy is
looked at: if nova-compute called it, the message that it would send is given to the tap of its cell, in the form that
oslo.messaging gives it, before the object is saved.
"""

import functools
import json
import sys
import threading

from nova import objects
from nova.objects import base
from oslo_messaging._drivers import common

from rpc_api.bus.copies import Copy

#: Modules of nova-compute that save objects, and where the name of its host is: an attribute of self, or a function of
#: the local variables.
SENDERS = {
    "nova.compute.manager": lambda names: names["self"].host,
    "nova.compute.resource_tracker": lambda names: names["self"].host,
    "nova.servicegroup.drivers.db": lambda names: names["service"].service_ref.host,
    "nova.service": lambda names: names["self"].host,
}
#: Modules of other services: what they call is not sent.
OTHERS = ("nova.api.", "nova.conductor.manager", "nova.conductor.tasks.")
METHODS = {
    objects.ComputeNode: ("create", "save", "destroy"),
    objects.Service: ("create", "save", "destroy"),
    objects.Instance: ("save", "destroy"),
    objects.PciDevice: ("save",),
}


class Queue:
    """The queue of a tap: as much of rpc_api.bus.copies.CopyQueue as the tap needs."""

    url = "memory://"

    def __init__(self):
        self._changed = threading.Condition()
        self._waiting = []
        self._unread = 0

    def put(self, body):
        """A message arrives."""
        with self._changed:
            self._waiting.append(Copy("conductor", body))
            self._unread += 1
            self._changed.notify_all()

    def is_done(self):
        """Whether all messages are acknowledged."""
        return self._unread == 0

    def open(self):
        return True

    def read(self, timeout):
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout)
            self._taken, self._waiting = self._waiting, []
            return self._taken

    def acknowledge(self):
        with self._changed:
            self._unread -= len(self._taken)
            self._taken = []

    def has_dropped(self):
        return False

    def beat(self): ...

    def close(self): ...


def install(send, saved):
    """From now on call ``send(host, object, body)`` for each message of a nova-compute, and ``saved(object)`` for what
    another service saves."""
    calls = threading.local()
    for owner, methods in METHODS.items():
        for method in methods:
            setattr(owner, method, _observed(getattr(owner, method), method, send, saved, calls))


def _observed(real, method, send, saved, calls):
    @functools.wraps(real)
    def called(instance, *arguments, **named):
        # What an object saves within is saved by the conductor.
        if getattr(calls, "is_inside", False):
            return real(instance, *arguments, **named)
        host = _sender(instance)
        if host is not None:
            send(host, instance, _body(instance, method, arguments, named))
        else:
            saved(instance)
        calls.is_inside = True
        try:
            return real(instance, *arguments, **named)
        finally:
            calls.is_inside = False

    return called


def _sender(instance):
    """The host of the nova-compute that calls; None for another service."""
    frame = sys._getframe(2)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith(OTHERS):
            return None
        if module in SENDERS:
            try:
                return SENDERS[module](frame.f_locals)
            except (KeyError, AttributeError):
                # A function of the module, or a decorator.
                pass
        frame = frame.f_back
    return None


def _body(instance, method, arguments, named):
    message = {
        "method": "object_action",
        "args": {
            "objinst": base.NovaObjectSerializer().serialize_entity(None, instance),
            "objmethod": method,
            "args": [str(argument) for argument in arguments],
            "kwargs": {name: str(argument) for name, argument in named.items()},
        },
    }
    return json.dumps(common.serialize_msg(message)).encode()
