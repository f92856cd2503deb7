"""Types of fields of events that the library does not have."""

import base64
from typing import Any

from oslo_versionedobjects import base as ovo_base
from oslo_versionedobjects import fields as ovo_fields

from rpc_api.wording import number_of

#: As in Placement; sums of amounts then stay far below 64 bits.
MAX_AMOUNT = 2**31 - 1


class AmountField(ovo_fields.AutoTypedField[int]):
    """An amount of a resource: 0 to ``MAX_AMOUNT``."""

    class _Amount(ovo_fields.NonNegativeInteger):
        def coerce(self, obj: ovo_base.VersionedObject | None, attr: str, value: Any) -> int:
            # A static method in older versions of the library.
            amount: int = super().coerce(obj, attr, value)
            if amount > MAX_AMOUNT:
                raise ValueError(f"{attr} is {amount}, wanted at most {MAX_AMOUNT}")
            return amount

    AUTO_TYPE = _Amount()


class BytesField(ovo_fields.AutoTypedField[bytes]):
    """Bytes that the event language does not look into."""

    class _Bytes(ovo_fields.FieldType[bytes]):
        def coerce(self, obj: ovo_base.VersionedObject | None, attr: str, value: object) -> bytes:
            if isinstance(value, bytes):
                return value
            raise ValueError(f"{attr} wants bytes, got {type(value).__name__}")

        def to_primitive(self, obj: ovo_base.VersionedObject, attr: str, value: bytes) -> str:
            return base64.b64encode(value).decode()

        def from_primitive(self, obj: ovo_base.VersionedObject, attr: str, value: object) -> bytes:
            return base64.b64decode(str(value))

        def stringify(self, value: bytes) -> str:
            return f"<{number_of(len(value), 'byte')}>"

    AUTO_TYPE = _Bytes()
