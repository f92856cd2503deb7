"""The serializer of all RPC of the project: nova's objects, and our own versioned objects in their frozen form."""

from rpc_api.events import schema
from rpc_api.objects.serializer import NovaSerializer

_NAME = f"{schema.SchemaObject.OBJ_SERIAL_NAMESPACE}.name"


class RpcSerializer(NovaSerializer):
    """Frozen records of ``rpc_api.events`` and ``rpc_api.messages`` travel as versioned objects' primitives."""

    def serialize_entity(self, ctxt, entity):
        if isinstance(entity, tuple) and hasattr(entity, "schema"):
            return schema.to_object(entity).obj_to_primitive()
        return super().serialize_entity(ctxt, entity)

    def deserialize_entity(self, ctxt, entity):
        if isinstance(entity, dict) and _NAME in entity:
            return schema.from_object(schema.SchemaObject.obj_from_primitive(entity))
        return super().deserialize_entity(ctxt, entity)
