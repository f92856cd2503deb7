"""The request context that travels beside the arguments of every call (the ``_context_*`` keys)."""

from collections.abc import Mapping
from typing import Any

from oslo_context import context

#: The keys that Nova adds to those of oslo.context, with Nova's defaults.
NOVA_KEYS: Mapping[str, Any] = {
    "read_deleted": "no",
    "remote_address": None,
    "timestamp": None,
    "quota_class": None,
    "service_catalog": None,
}
#: The keys of W3C's trace context, which oslo.messaging adds to those of a message while it traces.
TRACE_KEYS = ("traceparent", "tracestate")


class RequestContext(context.RequestContext):
    """The user and the request id of a call. Keeps the token for answers, and never shows it."""

    def __init__(
        self,
        *,
        read_deleted: str = "no",
        remote_address: str | None = None,
        timestamp: str | None = None,
        quota_class: str | None = None,
        service_catalog: list[dict[str, Any]] | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.read_deleted = read_deleted
        self.remote_address = remote_address
        # Kept as text: nothing here computes with it.
        self.timestamp = timestamp
        self.quota_class = quota_class
        self.service_catalog = service_catalog or []
        self.traceparent = traceparent
        self.tracestate = tracestate

    def to_dict(self) -> dict[str, Any]:
        """The keys and values that :meth:`from_dict` takes, as Nova writes them."""
        values = super().to_dict()
        values["user_id"] = self.user_id
        values.update({name: getattr(self, name) for name in NOVA_KEYS})
        values.update({name: getattr(self, name) for name in TRACE_KEYS if getattr(self, name) is not None})
        values["user_name"] = self.user_name
        values["project_name"] = self.project_name
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], **kwargs: Any) -> "RequestContext":
        """The context of a message, without the keys that we do not know."""
        nova = {name: values.get(name, default) for name, default in NOVA_KEYS.items()}
        nova.update({name: value for name in TRACE_KEYS if isinstance(value := values.get(name), str)})
        user_id = values.get("user_id", values.get("user"))
        return super().from_dict(dict(values), **{"user_id": user_id, **nova, **kwargs})

    def __repr__(self) -> str:
        # Names each shown attribute, so that no secret can be shown by accident.
        return f"<RequestContext {self.request_id} user {self.user_id} project {self.project_id}>"
