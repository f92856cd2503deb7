"""NUMA nodes and PCI devices: those of a host, those that a request asks for, and those that a guest has."""

from oslo_versionedobjects import fields

from rpc_api.events.fields import AmountField
from rpc_api.events.schema import SchemaObject, register

_LISTS_OF_INTEGERS = fields.List(fields.List(fields.Integer()))


# --- what a host has -----------------------------------------------------------------------------------------------


@register
class HostPages(SchemaObject):
    """Pages of one size in a NUMA node: their number, and how many of them the host reserves for itself."""

    VERSION = "1.0"
    fields = {"size_kb": AmountField(), "total": AmountField(), "reserved": AmountField()}


@register
class HostNUMACell(SchemaObject):
    """A NUMA node of a host, without what is used of it.

    ``shared_cpus`` run the unpinned CPUs of guests, ``dedicated_cpus`` the pinned ones; ``siblings`` are the CPUs that
    share a core, one list per core. ``physnets`` are the physical networks whose NICs belong to the node, ``tunneled``
    is true if the NICs of tunneled networks do.
    """

    VERSION = "1.0"
    fields = {
        "id": fields.NonNegativeIntegerField(),
        "socket": fields.NonNegativeIntegerField(nullable=True),
        "shared_cpus": fields.ListOfIntegersField(),
        "dedicated_cpus": fields.ListOfIntegersField(),
        "siblings": fields.Field(_LISTS_OF_INTEGERS),
        "memory_mb": AmountField(),
        "pages": fields.ListOfObjectsField("HostPages"),
        "physnets": fields.ListOfStringsField(default=()),
        "tunneled": fields.BooleanField(default=False),
    }


@register
class PCIPool(SchemaObject):
    """Equal PCI devices of a host: ``count`` of them in all, used or not.

    ``tags`` are Nova's (``dev_type``, ``physical_network``, ``rp_uuid``, ...). Two pools of a host differ in more than
    their count.
    """

    VERSION = "1.0"
    fields = {
        "vendor_id": fields.StringField(),
        "product_id": fields.StringField(),
        "numa_node": fields.NonNegativeIntegerField(nullable=True),
        "tags": fields.DictOfNullableStringsField(),
        "count": AmountField(),
    }


# --- what a request asks for ---------------------------------------------------------------------------------------


@register
class NUMACellRequest(SchemaObject):
    """A requested NUMA node of a guest.

    ``shared_cpus`` and ``dedicated_cpus`` are CPUs of the guest. ``page_kb`` is a size, -1 (small), -2 (large), -3
    (any) or None; ``threads`` the promised number of threads per core of the guest, 0 for no promise.
    """

    VERSION = "1.0"
    fields = {
        "id": fields.IntegerField(),
        "shared_cpus": fields.ListOfIntegersField(),
        "dedicated_cpus": fields.ListOfIntegersField(),
        "memory_mb": AmountField(),
        "page_kb": fields.IntegerField(nullable=True),
        "cpu_policy": fields.StringField(nullable=True),
        "thread_policy": fields.StringField(nullable=True),
        "threads": fields.NonNegativeIntegerField(),
    }


@register
class NUMARequest(SchemaObject):
    """The NUMA topology of a guest, and the networks to which its nodes should be near."""

    VERSION = "1.0"
    fields = {
        "cells": fields.ListOfObjectsField("NUMACellRequest"),
        "emulator_threads_policy": fields.StringField(nullable=True),
        "physnets": fields.ListOfStringsField(),
        "tunneled": fields.BooleanField(),
        # Whether the request has network metadata: then the limits of the selection have it, too.
        "networks": fields.BooleanField(default=False),
    }


@register
class PCIRequest(SchemaObject):
    """``count`` devices, each of which fits one of ``spec``; Nova's InstancePCIRequest."""

    VERSION = "1.0"
    fields = {
        "count": AmountField(),
        "spec": fields.Field(fields.List(fields.Dict(fields.String(), nullable=True))),
        "alias_name": fields.StringField(nullable=True),
        "request_id": fields.StringField(nullable=True),
        "requester_id": fields.StringField(nullable=True),
        "numa_policy": fields.StringField(nullable=True),
    }


# --- what a guest was given ----------------------------------------------------------------------------------------


@register
class NUMAUse(SchemaObject):
    """The use of the node ``cell`` of a host by the node ``guest_cell`` of a guest.

    ``pins`` are [guest CPU, host CPU], ``reserved_cpus`` host CPUs for the guest's emulator; ``isolated`` means that
    the other threads of their cores stay idle. ``shared_cpus`` is the number of CPUs that are not pinned. ``page_kb``
    is the requested size of pages, 0 without a request: then the memory has the smallest pages of the node.
    """

    VERSION = "1.0"
    fields = {
        "cell": fields.NonNegativeIntegerField(),
        "guest_cell": fields.IntegerField(),
        "shared_cpus": AmountField(),
        "pins": fields.Field(_LISTS_OF_INTEGERS),
        "reserved_cpus": fields.ListOfIntegersField(),
        "isolated": fields.BooleanField(),
        "memory_mb": AmountField(),
        "page_kb": AmountField(),
    }


@register
class PCIUse(SchemaObject):
    """``count`` devices of the pool with the key ``pool`` (:func:`rpc_api.digest.pool_key`), for a PCIRequest."""

    VERSION = "1.0"
    fields = {"pool": fields.StringField(), "count": AmountField(), "request_id": fields.StringField(nullable=True)}


@register
class Guest(SchemaObject):
    """The facts of an instance beside its allocations: its NUMA nodes, its PCI devices, the properties of its image (as
    text)."""

    VERSION = "1.0"
    fields = {
        "numa": fields.ListOfObjectsField("NUMAUse"),
        "pci": fields.ListOfObjectsField("PCIUse"),
        "image_properties": fields.DictOfStringsField(),
    }
