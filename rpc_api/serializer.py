"""The serializer of all RPC of the project: Nova's objects, and our own versioned objects in their frozen form."""

from typing import Any

from rpc_api import errors
from rpc_api.events.primitive import NAME, from_primitive, to_primitive
from rpc_api.events.schema import is_frozen
from rpc_api.objects.serializer import NovaSerializer


class RpcSerializer(NovaSerializer):
    """Sends frozen records of ``rpc_api.events`` and ``rpc_api.messages`` as primitives of versioned objects."""

    def serialize_entity(self, ctxt: object, entity: object) -> Any:
        if is_frozen(entity):
            return to_primitive(entity)
        return super().serialize_entity(ctxt, entity)

    def deserialize_entity(self, ctxt: object, entity: object) -> Any:
        try:
            if isinstance(entity, dict) and NAME in entity:
                return from_primitive(entity)
            return super().deserialize_entity(ctxt, entity)
        except RecursionError:
            raise errors.InvalidEvent("a message is nested too deeply to be read; fix its sender") from None
