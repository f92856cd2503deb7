"""The image of an instance, as nova-compute keeps it with the instance."""

from collections.abc import Mapping

from nova_sched.request.from_spec import image_properties
from rpc_api.objects.image_meta import ImageMetaProps, with_current_names


def image_properties_of(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of an image from the texts of an instance (name -> text, without ``image_``), as those of a
    request. Skips unknown properties, and values that Nova's object does not accept."""
    properties = ImageMetaProps()
    for name, value in with_current_names(texts).items():
        if name in properties.fields:
            try:
                setattr(properties, name, value)
            except (ValueError, TypeError):
                continue
    return image_properties(properties)
