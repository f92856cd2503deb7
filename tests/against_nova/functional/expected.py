"""Nova's functional tests that fail with our services, each with its reason, as docs/differences/README.md has them."""

_FILTER = "It replaces a filter of Nova's scheduler by one that passes all hosts, so that a later check must fail."
_CLAIM = "It lets the second call of the claim of Nova's scheduler fail; here the conductor's is the first one."
_INSIDE = "It puts a function of its own in the place of one of Nova's scheduler, and looks at what that one was asked."
_LINES = "It looks for log lines of Nova's weighers."
_STOCK = "It fails with Nova's own services, too."
_WORDS = "It compares the sentence of an error of Placement word by word; code and status are the same."

EXPECTED: dict[str, str] = {
    **{
        f"test_server_group.{case}.test_failed_count_with_{policy}_violation": _FILTER
        for case in ("ServerGroupTestV21", "ServerGroupTestV215", "ServerGroupTestV264", "ServerGroupTestV295")
        for policy in ("affinity", "anti_affinity")
    },
    "test_servers.ServerRescheduleTests.test_allocation_fails_during_reschedule": _CLAIM,
    "test_servers.ServerRescheduleTestsWithNestedResourcesRequest.test_allocation_fails_during_reschedule": _CLAIM,
    "test_aggregates.TestAggregateMultiTenancyIsolationFilter.test_aggregate_multitenancy_isolation_filter": _INSIDE,
    "test_routed_networks.RoutedNetworkTests.test_boot_with_immediate_port_fails_due_to_config": _INSIDE,
    "regressions.test_bug_1825034.FillVirtualInterfaceListMigration.test_fill_vifs_migration": _STOCK,
    "libvirt.test_evacuate.LibvirtLVMEvacuateTest.test_evacuate_failure_nonshared_instancedir": _STOCK,
    "libvirt.test_evacuate.LibvirtLVMEvacuateTest.test_evacuate_failure_shared_instancedir": _STOCK,
    "regressions.test_bug_2125935.TestImagePropsWeigher.test_boot": _LINES,
    "libvirt.test_pci_in_placement.PlacementPCIInventoryReportingTests."
    "test_device_reconfiguration_with_allocations_config_change_stop": _WORDS,
}
