"""AggregateImagePropertiesIsolation: refuses hosts whose aggregates are for other images."""

from nova_sched.filters.base import Filter, Refusal
from nova_sched.filters.explanation import of_aggregates
from nova_sched.filters.options import Kind, Option
from nova_sched.projection.reason import Reason

OTHER_IMAGES = "image property {name} of the aggregate"
NAMESPACE = Option(
    "aggregate_image_properties_isolation_namespace",
    Kind.TEXT,
    None,
    "Beginning of the metadata keys that the AggregateImagePropertiesIsolation looks at.",
)
SEPARATOR = Option(
    "aggregate_image_properties_isolation_separator",
    Kind.TEXT,
    ".",
    "The text between that beginning and the name of a property.",
)

#: Properties of free text. Of all others a value like "0" or "False" means nothing.
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
    """A metadata key of a host's aggregates that is the name of an image property lists the values (separated by
    commas, of all its aggregates together) of which an image must have one; images without the property pass, and so do
    images of which it is 0, False or empty.

    With ``aggregate_image_properties_isolation_namespace`` only keys count that begin with it and the
    ``aggregate_image_properties_isolation_separator``.
    """

    name = "AggregateImagePropertiesIsolation"
    options = (NAMESPACE, SEPARATOR)
    reasons = {OTHER_IMAGES: "an aggregate of the host is kept for images with other values of this property"}
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
                    Reason(OTHER_IMAGES, (key,)),
                    hosts.by_aggregates(
                        lambda metadata, key=key, value=value: key in metadata.keys and value not in metadata.words(key)
                    ),
                )

    def explain(self, look, reason):
        return of_aggregates(look, reason)
