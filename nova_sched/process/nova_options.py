"""Options of Nova that have no effect here, and what an operator who copies nova.conf sets instead.

Read from the options of Nova 34 for schedulers, conductors and compute hosts, and from the older names that guides
still have. Options that have Nova's name and meaning here are not in it.
"""

_ELSEWHERE = "leave that to the nova.conf of the Nova service that reads it"
_RATIO = (
    "allocation ratios are part of what an agent reports; the driver local reports 4 for VCPU and 1 for the "
    "rest, and no option changes that"
)
_PROCESSES = "run more processes of the service, each with a name of its own"
_THREADS = "choose the concurrency mode with NOVA_SCHED_CONCURRENCY in the environment"

#: Section, options with blanks between them, what to do instead.
_OPTIONS = (
    (
        "DEFAULT",
        "cpu_allocation_ratio ram_allocation_ratio disk_allocation_ratio initial_cpu_allocation_ratio "
        "initial_ram_allocation_ratio initial_disk_allocation_ratio",
        _RATIO,
    ),
    ("DEFAULT", "reserved_host_memory_mb", "set [compute_agent] reserved_memory_mb"),
    (
        "DEFAULT",
        "reserved_host_cpus vcpu_pin_set",
        "set [compute] cpu_shared_set and cpu_dedicated_set to the CPUs that guests may have",
    ),
    ("DEFAULT", "reserved_host_disk_mb reserved_huge_pages", "nothing of the kind can be reserved here"),
    ("DEFAULT", "host", "set [scheduler] name, [conductor] name or [compute_agent] host"),
    ("DEFAULT", "compute_driver", "set [compute_agent] driver"),
    ("DEFAULT", "state_path instances_path", "set [compute_agent] state_path"),
    ("DEFAULT", "report_interval", "set [compute_agent] report_interval"),
    ("DEFAULT", "service_down_time", "set [conductor] service_down_time"),
    ("DEFAULT", "servicegroup_driver", "hosts are known to be up by the beats of their agents; leave that out"),
    ("DEFAULT", "long_rpc_timeout", "set [DEFAULT] rpc_response_timeout, and [scheduler] claim_timeout"),
    ("DEFAULT", "instance_build_timeout", "set [conductor] build_timeout"),
    ("DEFAULT", "max_concurrent_builds", "set [conductor] build_threads"),
    ("DEFAULT", "manager_shutdown_timeout", "set [DEFAULT] graceful_shutdown_timeout"),
    (
        "DEFAULT",
        "concurrency_backend default_green_pool_size default_thread_pool_size cell_worker_thread_pool_size "
        "thread_pool_statistic_period",
        _THREADS,
    ),
    (
        "DEFAULT",
        "scheduler_instance_sync_interval update_resources_interval",
        "set [compute_agent] report_interval and confirm_interval",
    ),
    ("DEFAULT", "internal_service_availability_zone default_schedule_zone enable_new_services", _ELSEWHERE),
    (
        "DEFAULT",
        "password_length instance_usage_audit_period use_rootwrap_daemon rootwrap_config tempdir "
        "allow_resize_to_same_host non_inheritable_image_properties max_local_block_devices compute_monitors "
        "default_ephemeral_format vif_plugging_is_fatal vif_plugging_timeout arq_binding_timeout "
        "injected_network_template preallocate_images use_cow_images force_raw_images virt_mkfs "
        "resize_fs_using_block_device timeout_nbd pointer_model reimage_timeout_per_gb console_host "
        "default_access_ip_network_name instance_usage_audit live_migration_retry_count "
        "resume_guests_state_on_host_boot network_allocate_retries max_concurrent_snapshots "
        "max_concurrent_live_migrations block_device_allocate_retries sync_power_state_pool_size "
        "sync_power_state_interval heal_instance_info_cache_interval reclaim_instance_interval "
        "volume_usage_poll_interval shelved_poll_interval shelved_offload_time instance_delete_interval "
        "block_device_allocate_retries_interval stale_share_access_reconcile_interval reboot_timeout "
        "rescue_timeout resize_confirm_window shutdown_timeout running_deleted_instance_action "
        "running_deleted_instance_poll_interval running_deleted_instance_timeout "
        "maximum_instance_delete_attempts osapi_compute_unique_server_name_scope instance_name_template "
        "migrate_max_retries config_drive_format force_config_drive mkisofs_cmd my_ip my_block_storage_ip "
        "my_shared_fs_storage_ip flat_injected record daemon ssl_only source_is_ipv6 cert key web pybasedir "
        "periodic_enable periodic_fuzzy_delay enabled_apis osapi_compute_listen osapi_compute_listen_port "
        "osapi_compute_workers metadata_listen metadata_listen_port metadata_workers auth_strategy "
        "use_neutron firewall_driver tcp_keepidle wsgi_log_format client_socket_timeout max_header_line "
        "api_paste_config wsgi_default_pool_size wsgi_keep_alive wsgi_server_debug backlog",
        _ELSEWHERE,
    ),
    (
        "DEFAULT",
        "api_paste_config console_allowed_origins console_token_ttl default_notification_level "
        "image_cache_manager_interval image_cache_subdirectory_name "
        "notify_on_state_change novncproxy_base_url novncproxy_host novncproxy_port quota_cores "
        "quota_injected_file_content_bytes quota_injected_file_path_length quota_injected_files "
        "quota_instances quota_key_pairs quota_metadata_items quota_ram quota_server_group_members "
        "quota_server_groups remove_unused_base_images remove_unused_original_minimum_age_seconds "
        "secure_proxy_ssl_header vnc_enabled",
        _ELSEWHERE,
    ),
    ("scheduler", "workers", f"{_PROCESSES} ([scheduler] name)"),
    ("scheduler", "max_placement_results", "a decision looks at all hosts; leave that out"),
    ("filter_scheduler", "track_instance_changes", "the logs always say what runs on a host; leave that out"),
    (
        "filter_scheduler",
        "shuffle_best_same_weighed_hosts",
        "equal hosts are always drawn from by chance; leave that out",
    ),
    ("conductor", "workers", f"{_PROCESSES} ([conductor] name)"),
    ("pci", "alias", _ELSEWHERE),
    ("pci", "report_in_placement", "PCI devices are reported as pools of a host; leave that out"),
    (
        "compute",
        "consecutive_build_service_disable_threshold shutdown_retry_interval "
        "sharing_providers_max_uuids_per_request resource_provider_association_refresh "
        "live_migration_wait_for_vif_plug max_concurrent_disk_ops max_disk_devices_to_attach "
        "provider_config_location image_type_exclude_list vmdk_allowed_types update_resources_max_workers",
        _ELSEWHERE,
    ),
    (
        "neutron",
        "ovs_bridge default_floating_pool physnets service_metadata_proxy metadata_proxy_shared_secret",
        _ELSEWHERE,
    ),
    (
        "workarounds",
        "disable_rootwrap disable_libvirt_livesnapshot handle_virt_lifecycle_events "
        "disable_group_policy_check_upcall enable_numa_live_migration "
        "ensure_libvirt_rbd_instance_dir_cleanup never_download_image_if_on_rbd "
        "reserve_disk_resource_for_image_cache libvirt_disable_apic "
        "wait_for_vif_plugged_event_during_hard_reboot enable_qemu_monitor_announce_self "
        "qemu_monitor_announce_self_count qemu_monitor_announce_self_interval "
        "disable_compute_service_check_for_ffu unified_limits_count_pcpu_as_vcpu skip_cpu_compare_on_dest "
        "skip_cpu_compare_at_startup skip_hypervisor_version_check_on_lm skip_reserve_in_use_ironic_nodes "
        "disable_deep_image_inspection",
        _ELSEWHERE,
    ),
    # Names that Nova 34 does not read either.
    ("DEFAULT", "scheduler_default_filters", "set [filter_scheduler] enabled_filters"),
    ("DEFAULT", "scheduler_available_filters", "set [filter_scheduler] available_filters"),
    ("DEFAULT", "scheduler_weight_classes", "set [filter_scheduler] weight_classes"),
    ("DEFAULT", "scheduler_host_subset_size", "set [filter_scheduler] host_subset_size"),
    ("DEFAULT", "scheduler_max_attempts", "set [scheduler] max_attempts"),
    ("DEFAULT", "scheduler_topic", "set [scheduler] rpc_topic"),
    ("DEFAULT", "conductor_topic", "set [conductor] rpc_topic"),
    ("DEFAULT", "compute_topic", "set [compute_agent] rpc_topic"),
    (
        "DEFAULT",
        "max_io_ops_per_host max_instances_per_host isolated_images isolated_hosts "
        "restrict_isolated_hosts_to_isolated_images aggregate_image_properties_isolation_namespace "
        "aggregate_image_properties_isolation_separator ram_weight_multiplier disk_weight_multiplier "
        "io_ops_weight_multiplier soft_affinity_weight_multiplier soft_anti_affinity_weight_multiplier",
        "it belongs to the section [filter_scheduler]; move it there",
    ),
    ("DEFAULT", "pci_alias", _ELSEWHERE),
    (
        "DEFAULT",
        "scheduler_driver scheduler_manager scheduler_host_manager scheduler_json_config_location "
        "scheduler_use_baremetal_filters baremetal_scheduler_default_filters scheduler_driver_task_period "
        "scheduler_tracks_instance_changes",
        "Nova has no such option any more, and there is nothing to choose here; leave that out",
    ),
    (
        "DEFAULT",
        "rpc_backend rabbit_host rabbit_port rabbit_hosts rabbit_userid rabbit_password rabbit_virtual_host",
        "set [DEFAULT] transport_url",
    ),
    (
        "scheduler",
        "driver host_manager scheduler_driver driver_task_period periodic_task_interval",
        "Nova has no such option any more, and there is nothing to choose here; leave that out",
    ),
    (
        "filter_scheduler",
        "use_baremetal_filters baremetal_enabled_filters scheduler_json_config_location",
        "set enabled_filters, Nova has no such option any more",
    ),
    (
        "cells",
        "enable name capabilities call_timeout reserve_percent cell_type mute_child_interval db_check_interval "
        "scheduler scheduler_filter_classes scheduler_weight_classes",
        "set [cells] enabled and cell0_log",
    ),
    ("conductor", "use_local manager topic", "set [conductor] rpc_topic and name"),
)
#: Section -> what to do instead, for all options in it.
_SECTIONS = {
    **dict.fromkeys(
        ("database", "api_database", "placement_database", "main_database"),
        "there is no database: the state is in the logs ([cells] cell0_log and [cell:NAME] log)",
    ),
    "placement": "nova_sched asks no Placement; the options of its own Placement API are in [placement_api]",
    "upgrade_levels": "the versions of the RPC are agreed on by the services; leave that out",
    **dict.fromkeys(
        (
            "api",
            "api_settings",
            "barbican",
            "barbican_service_user",
            "cache",
            "cinder",
            "console",
            "consoleauth",
            "cyborg",
            "devices",
            "ephemeral_storage_encryption",
            "glance",
            "guestfs",
            "hyperv",
            "image_cache",
            "ironic",
            "key_manager",
            "keymgr",
            "keystone",
            "libvirt",
            "manila",
            "mks",
            "notifications",
            "nova_sys_admin",
            "os_brick",
            "os_vif_linux_bridge",
            "os_vif_ovs",
            "osapi_v21",
            "powervm",
            "privsep",
            "privsep_osbrick",
            "quota",
            "rdp",
            "remote_debug",
            "serial_console",
            "service_user",
            "spice",
            "vault",
            "vendordata_dynamic_auth",
            "vif_plug_linux_bridge_privileged",
            "vif_plug_ovs_privileged",
            "vmware",
            "vnc",
            "wsgi",
            "xenserver",
            "xvp",
            "zvm",
        ),
        _ELSEWHERE,
    ),
}
OPTIONS = {(section, name): instead for section, names, instead in _OPTIONS for name in names.split()}


def instead_of(section: str, name: str) -> str | None:
    """Return what to do instead of setting an option of Nova; None if the option is not one without effect here."""
    return OPTIONS.get((section, name)) or _SECTIONS.get(section)
