"""Which bodies and query strings the schemas of the real Placement accept.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import importlib
import json

import jsonschema
from placement import policies, util

#: A format that this library knows beside "uuid" would be checked in query strings, and no schema names another one.
QUERY_FORMATS = jsonschema.FormatChecker()


def accepted(module, schema, instances, is_query):
    """For each instance, as JSON, whether a schema of Placement accepts it."""
    found = getattr(importlib.import_module(f"placement.schemas.{module}"), schema)
    validator = jsonschema.validators.validator_for(found)(
        found, format_checker=QUERY_FORMATS if is_query else util._FORMAT_CHECKER
    )
    return [validator.is_valid(json.loads(instance)) for instance in instances]


def rules():
    """[name, check, scope types, operations, name and check of the deprecated rule] of each rule of the policy."""
    return [
        [
            rule.name,
            rule.check_str,
            rule.scope_types,
            getattr(rule, "operations", None),
            rule.deprecated_rule and [rule.deprecated_rule.name, rule.deprecated_rule.check_str],
        ]
        for rule in policies.list_rules()
    ]


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (accepted, rules)
