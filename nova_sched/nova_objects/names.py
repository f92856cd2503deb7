"""The names that Nova's objects have on its wire, and which of their fields are read.

Imports nothing: a nova-compute with our notification driver imports this module too, and a module of ours with objects
would register them beside Nova's (docs/design/0037).
"""

#: Keys of an object in a message.
NAME, NAMESPACE, VERSION = "nova_object.name", "nova_object.namespace", "nova_object.version"
DATA, CHANGES = "nova_object.data", "nova_object.changes"
#: Names of objects.
NODE, SERVICE, INSTANCE, DEVICE = "ComputeNode", "Service", "Instance", "PciDevice"
#: RPC method of the calls that save them, and the methods of the objects in them.
ACTION = "object_action"
METHODS = ("create", "save", "destroy")
#: RPC method of the message of our notification driver that says that others are missing.
LOST = "nova_sched_messages_lost"
#: The binary of a service whose host runs instances.
BINARY = "nova-compute"
#: The type of the hypervisors that are bare-metal nodes: one nova-compute may have many of them.
IRONIC = "ironic"
#: The field of an instance with the properties of its image, which have names with this prefix there.
METADATA, IMAGE_PREFIX = "system_metadata", "image_"

#: Name of an object -> its fields that are read. Our notification driver publishes no others: the user data or the
#: password of an instance must not leave Nova.
FIELDS = {
    NODE: (
        "id",
        "uuid",
        "host",
        "hypervisor_hostname",
        "hypervisor_type",
        "hypervisor_version",
        "cpu_info",
        "host_ip",
        "stats",
        "metrics",
        "supported_hv_specs",
        "numa_topology",
        "pci_device_pools",
        "running_vms",
    ),
    SERVICE: ("host", "binary", "disabled", "disabled_reason", "forced_down", "version"),
    INSTANCE: ("uuid", "host", "vm_state", METADATA),
    DEVICE: ("compute_node_id", "address", "vendor_id", "product_id", "dev_type", "status", "numa_node", "parent_addr"),
}
