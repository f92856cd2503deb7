"""AggregateImagePropertiesIsolation: refuses hosts whose aggregates are for other images."""

from nova_sched.filters.base import Filter, Refusal

#: Properties of free text. Of all others a value like "0" or "False" stands for nothing.
FREE_TEXT = frozenset(
    {
        "hw_auto_disk_config",
        "hw_cpu_realtime_mask",
        "hw_disk_type",
        "hw_machine_type",
        "hw_mem_page_size",
        "img_owner_id",
        "img_root_device_name",
        "img_signature",
        "os_admin_user",
        "os_command_line",
        "os_distro",
    }
)
_NOTHING = ("0", "False", "[]")


class AggregateImagePropertiesIsolation(Filter):
    """A metadata key of a host's aggregates that is the name of an image property lists the values (parted by commas,
    of all its aggregates together) of which an image must have one; images without the property pass, and so do those
    where it is 0, False or empty.

    With ``aggregate_image_properties_isolation_namespace`` only keys count that begin with it and the
    ``aggregate_image_properties_isolation_separator``.
    """

    name = "AggregateImagePropertiesIsolation"
    options = ("aggregate_image_properties_isolation_namespace", "aggregate_image_properties_isolation_separator")
    reasons = ("image property {name} of the aggregate",)
    on_rebuild = True
    follows_use = False

    def seen(self, request):
        return tuple(sorted(request.image_properties.items()))

    def refusals(self, hosts, request, policy, scope):
        namespace = policy.aggregate_image_properties_isolation_namespace
        prefix = namespace + policy.aggregate_image_properties_isolation_separator if namespace else ""
        for key, value in self.seen(request):
            says_something = value and (key in FREE_TEXT or value not in _NOTHING)
            if says_something and key.startswith(prefix) and key in hosts.aggregate_keys():
                yield Refusal(
                    f"image property {key} of the aggregate",
                    hosts.by_aggregates(
                        lambda metadata, key=key, value=value: key in metadata.keys and value not in metadata.words(key)
                    ),
                )
