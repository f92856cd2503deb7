"""Write the type stubs of the event classes from their schemas: ``make reference``.

A frozen record is a named tuple that :func:`rpc_api.events.schema.register` makes while the program runs, so a type
checker cannot see its fields. ``rpc_api/events/__init__.pyi`` and ``rpc_api/messages.pyi`` declare them. A test
compares these files with what this module writes.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

from oslo_versionedobjects import fields as ovo_fields

from rpc_api import events, messages
from rpc_api.events.fields import BytesField
from rpc_api.events.schema import TABLE, PackedObjectField, SchemaObject

COMMAND = "make reference"
ROOT = Path(__file__).resolve().parent
HEAD = f'''"""Written by `{COMMAND}` from the schemas: change those, never this file."""
'''
#: Names of a simple field type -> the type of its values.
_SIMPLE = {
    ovo_fields.UUID: "str",
    ovo_fields.String: "str",
    ovo_fields.Integer: "int",
    ovo_fields.NonNegativeInteger: "int",
    ovo_fields.Float: "float",
    ovo_fields.Boolean: "bool",
    BytesField._Bytes: "bytes",
}


def _shown(default: object) -> str:
    """A default as ruff writes it: text in double quotes."""
    return json.dumps(default) if isinstance(default, str) else repr(default)


def type_of(field: ovo_fields.Field[Any]) -> str:
    """The Python type of the values of a field in the frozen form. TypeError for a kind of field that has none here."""
    kind = field._type
    if isinstance(field, PackedObjectField):
        name = "bytes"
    elif isinstance(kind, ovo_fields.List):
        name = f"tuple[{type_of(kind._element_type)}, ...]"
    elif isinstance(kind, ovo_fields.Dict):
        name = f"dict[str, {type_of(kind._element_type)}]"
    elif isinstance(kind, ovo_fields.Object):
        name = kind._obj_name
    else:
        found = [written for simple, written in _SIMPLE.items() if isinstance(kind, simple)]
        if not found:
            raise TypeError(f"the field type {type(kind).__name__} has no Python type, add it to rpc_api/stubs.py")
        name = found[0]
    return f"{name} | None" if field.nullable else name


def class_text(schema: type[SchemaObject]) -> str:
    """The declaration of the frozen form of one schema."""
    lines = [f"class {schema.__name__}(NamedTuple):"]
    doc = inspect.cleandoc(schema.__doc__ or "").splitlines()
    lines += [f"    {line}".rstrip() for line in _quoted(doc)] + [""]
    for name, field in schema.fields.items():
        default = "" if field.default is ovo_fields.UnspecifiedDefault else f" = {_shown(field.default)}"
        hides = "  # type: ignore[assignment]  # hides a method of tuple" if hasattr(tuple, name) else ""
        lines.append(f"    {name}: {type_of(field)}{default}{hides}")
    lines += ["    @property", "    def schema(self) -> type[SchemaObject]: ..."]
    lines += ["    @property", "    def may_hold_maps(self) -> bool: ...", ""]
    return "\n".join(lines)


def _quoted(doc: list[str]) -> list[str]:
    if len(doc) == 1:
        return [f'"""{doc[0]}"""']
    # As in the source: the quotes follow the last line, or have one of their own after paragraphs.
    return [f'"""{doc[0]}', *doc[1:], '"""'] if "" in doc else [f'"""{doc[0]}', *doc[1:-1], f'{doc[-1]}"""']


def _schemas(module: ModuleType) -> list[type[SchemaObject]]:
    """The schemas whose frozen forms are attributes of a module, in the order of their registration."""
    return [schema for name, schema in TABLE.items() if getattr(module, name, None) is schema.Frozen]


def events_text() -> str:
    """``rpc_api/events/__init__.pyi``."""
    schemas = _schemas(events)
    packed = {
        field.objname for schema in schemas for field in schema.fields.values() if isinstance(field, PackedObjectField)
    }
    lines = [
        HEAD,
        "from typing import Any, Literal, NamedTuple, overload",
        "",
        "from rpc_api.events import claim as claim",
        "from rpc_api.events import cloud as cloud",
        "from rpc_api.events import decision as decision",
        "from rpc_api.events import device as device",
        "from rpc_api.events import host as host",
        "from rpc_api.events import provider as provider",
        "from rpc_api.events.schema import TABLE as TABLE",
        "from rpc_api.events.schema import FrozenRecord as FrozenRecord",
        "from rpc_api.events.schema import SchemaObject",
        "from rpc_api.events.schema import from_object as from_object",
        "from rpc_api.events.schema import to_object as to_object",
        "",
        "EVENTS: dict[str, type[SchemaObject]]",
        "",
        *map(class_text, schemas),
    ]
    for name in sorted(packed):
        lines += ["@overload", f'def thaw(name: Literal["{name}"], packed: bytes) -> {name}: ...']
    lines += ["@overload", "def thaw(name: str, packed: bytes) -> Any: ..."]
    return "\n".join(lines) + "\n"


def messages_text() -> str:
    """``rpc_api/messages.pyi``."""
    schemas = _schemas(messages)
    declared = "\n".join(map(class_text, schemas))
    constants = [f"{name}: str" for name, value in vars(messages).items() if name.isupper() and isinstance(value, str)]
    named = sorted(schema.__name__ for schema in _schemas(events) if f"{schema.__name__}," in declared)
    lines = [
        HEAD,
        "from typing import NamedTuple",
        "",
        f"from rpc_api.events import {', '.join(named)}",
        "from rpc_api.events.schema import SchemaObject",
        "",
        declared,
        *constants,
    ]
    return "\n".join(lines) + "\n"


#: Path of each stub under rpc_api -> what writes its text.
STUBS = {"events/__init__.pyi": events_text, "messages.pyi": messages_text}


def main() -> None:
    """Write the stubs."""
    for path, text in STUBS.items():
        (ROOT / path).write_text(text())


if __name__ == "__main__":
    main()
