"""Allocations of one consumer, and of several.

From microversion 1.28 on the body of a PUT may also have our own key ``nova_sched``, the terms of a claim, as it is in
the ``allocation_request`` of a Selection (:mod:`placement_api.schemas.terms`). Other bodies may not.
"""

from placement_api.schemas import common, validators

TERMS = "nova_sched"

_AMOUNTS = common.closed({}, minProperties=1, patternProperties={common.CLASS_NAME: {"type": "integer", "minimum": 1}})
#: Before 1.12 a list of providers.
_LIST = {
    "type": "array",
    "minItems": 1,
    "items": common.closed(
        {"resource_provider": common.closed({"uuid": common.UUID}, required=["uuid"]), "resources": _AMOUNTS},
        required=["resource_provider", "resources"],
    ),
}
#: From 1.12 on an object by provider. Clients may send back the generation that they read; it does not count.
_BY_PROVIDER = common.closed(
    {},
    patternProperties={
        common.UUID_KEY: common.closed({"generation": common.GENERATION, "resources": _AMOUNTS}, required=["resources"])
    },
)
_SOME_BY_PROVIDER = {**_BY_PROVIDER, "minProperties": 1}
_CONSUMER_GENERATION = {"type": ["integer", "null"]}
_MAPPINGS = {
    "type": "object",
    "minProperties": 1,
    # A suffix of a group, or "" for the unsuffixed one; other keys are ignored.
    "patternProperties": {common.TEXT_SUFFIX: {"type": "array", "minItems": 1, "items": common.UUID}},
}
_CONSUMER_TYPE = {"type": "string", "pattern": common.CONSUMER_TYPE, "minLength": 1, "maxLength": 255}
_OWNERS = {"project_id": common.KEYSTONE_ID, "user_id": common.KEYSTONE_ID}
_TERMS = {TERMS: {"type": "object"}}

# --- one consumer ----------------------------------------------------------------------------------------------------

_ONE = common.closed({"allocations": _LIST}, required=["allocations"])
_ONE_1_8 = common.closed({"allocations": _LIST, **_OWNERS}, required=["allocations", "project_id", "user_id"])
_ONE_1_12 = common.closed(
    {"allocations": _SOME_BY_PROVIDER, **_OWNERS}, required=["allocations", "project_id", "user_id"]
)
_FIELDS_1_28 = {"allocations": _BY_PROVIDER, **_OWNERS, "consumer_generation": _CONSUMER_GENERATION}
_FIELDS_1_34 = {**_FIELDS_1_28, "mappings": _MAPPINGS}
_FIELDS_1_38 = {**_FIELDS_1_34, "consumer_type": _CONSUMER_TYPE}
_REQUIRED_1_28 = ["allocations", "project_id", "user_id", "consumer_generation"]
_REQUIRED_1_38 = [*_REQUIRED_1_28, "consumer_type"]

PUT = validators.by_version(
    ((1, 0), _ONE),
    ((1, 8), _ONE_1_8),
    ((1, 12), _ONE_1_12),
    ((1, 28), common.closed({**_FIELDS_1_28, **_TERMS}, required=_REQUIRED_1_28)),
    ((1, 34), common.closed({**_FIELDS_1_34, **_TERMS}, required=_REQUIRED_1_28)),
    ((1, 38), common.closed({**_FIELDS_1_38, **_TERMS}, required=_REQUIRED_1_38)),
)

# --- several consumers -----------------------------------------------------------------------------------------------

_ONE_OF_MANY_1_13 = common.closed(
    {"allocations": _BY_PROVIDER, **_OWNERS}, required=["allocations", "project_id", "user_id"]
)
_ONE_OF_MANY_1_28 = common.closed(_FIELDS_1_28, required=_REQUIRED_1_28)
_ONE_OF_MANY_1_34 = common.closed(_FIELDS_1_34, required=_REQUIRED_1_28)
_ONE_OF_MANY_1_38 = common.closed(_FIELDS_1_38, required=_REQUIRED_1_38)

#: Consumers by uuid, none or more, as a reshape has them.
MANY_1_28 = common.closed({}, patternProperties={common.UUID_KEY: _ONE_OF_MANY_1_28})
MANY_1_34 = common.closed({}, patternProperties={common.UUID_KEY: _ONE_OF_MANY_1_34})
MANY_1_38 = common.closed({}, patternProperties={common.UUID_KEY: _ONE_OF_MANY_1_38})

POST = validators.by_version(
    ((1, 13), common.closed({}, minProperties=1, patternProperties={common.UUID_KEY: _ONE_OF_MANY_1_13})),
    ((1, 28), {**MANY_1_28, "minProperties": 1}),
    ((1, 34), {**MANY_1_34, "minProperties": 1}),
    ((1, 38), {**MANY_1_38, "minProperties": 1}),
)
