"""Between objects and the primitives of a message, for oslo.messaging's clients and servers."""

from collections.abc import Callable
from typing import Any

import oslo_messaging
from oslo_versionedobjects.base import VersionedObject

from rpc_api import errors
from rpc_api.objects.base import NAME, NovaObject
from rpc_api.objects.context import RequestContext

#: Objects that stay dictionaries: we do not have their tree of 35 classes, and we read only a few fields.
PASS_THROUGH = frozenset({"InstanceList", "Instance"})


class NovaSerializer(oslo_messaging.Serializer):  # type: ignore[misc]  # oslo.messaging has no types
    """Uses our own table for objects, and :class:`~rpc_api.objects.context.RequestContext` for contexts."""

    def serialize_entity(self, ctxt: Any, entity: Any) -> Any:
        if isinstance(entity, VersionedObject):
            return entity.obj_to_primitive()
        return _each(entity, lambda value: self.serialize_entity(ctxt, value))

    def deserialize_entity(self, ctxt: Any, entity: Any) -> Any:
        if isinstance(entity, dict) and NAME in entity:
            if isinstance(entity[NAME], str) and entity[NAME] in PASS_THROUGH:
                return entity
            return NovaObject.obj_from_primitive(entity, ctxt)
        return _each(entity, lambda value: self.deserialize_entity(ctxt, value))

    def serialize_context(self, ctxt: Any) -> dict[str, Any]:
        return ctxt if isinstance(ctxt, dict) else ctxt.to_dict()

    def deserialize_context(self, ctxt: dict[str, Any]) -> RequestContext:
        try:
            return RequestContext.from_dict(ctxt)
        except Exception as error:
            # Without the text of the error, which might quote the context, and so a token.
            raise errors.InvalidEvent(
                f"cannot read the context of a message: it is a {type(ctxt).__name__}, wanted a dictionary of "
                f"_context_ keys; fix the sender"
            ) from error


def _each(entity: Any, act: Callable[[Any], Any]) -> Any:
    """Apply ``act`` to every element of a container, and return any other value as it is. A set becomes a list."""
    if isinstance(entity, dict):
        return {key: act(value) for key, value in entity.items()}
    if isinstance(entity, tuple):
        return tuple(act(value) for value in entity)
    if isinstance(entity, (set, frozenset)):
        return [act(value) for value in sorted(entity, key=str)]
    if isinstance(entity, list):
        return [act(value) for value in entity]
    return entity
