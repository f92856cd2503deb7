"""The tests of Nova that are run with our services, in groups: modules and classes of :mod:`nova.tests.functional`."""

GROUPS = {
    "placing": (
        "test_server_group",
        "test_aggregates",
        "test_report_client",
        "test_routed_networks",
        "test_availability_zones",
    ),
    "moving": ("test_servers.ServerMovingTests",),
    "rescheduling": (
        "test_servers.ServerRescheduleTests",
        "test_servers.ServerRescheduleTestsWithNestedResourcesRequest",
        "test_servers.ServerTestV256RescheduleTestCase",
        "test_servers.AcceleratorServerReschedTest",
    ),
    "cells": ("test_cross_cell_migrate",),
    "evacuation": ("libvirt.test_evacuate",),
    "nested": (
        "test_servers.ServerMovingTestsWithNestedResourceRequests",
        "test_servers.ServerMovingTestsFromFlatToNested",
    ),
    "pci": ("libvirt.test_pci_in_placement",),
    "ports": ("test_servers_resource_request",),
    "sriov": ("libvirt.test_pci_sriov_servers",),
    "regressions": ("regressions",),
}

#: A few of them, for each run of the project's own tests.
QUICK = (
    "test_aggregates.TestAggregateFiltersTogether.test_tenant_with_az_match",
    "test_servers.ServerMovingTests.test_migrate_confirm",
    "test_servers.ServerRescheduleTests.test_rescheduling_when_booting_instance",
    "libvirt.test_pci_in_placement.PlacementPCIAllocationHealingTests.test_heal_allocation_during_same_host_resize",
)
