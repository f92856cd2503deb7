"""Answers of the policy that are used again."""

import pytest
from oslo_context.context import RequestContext

from placement_api.http_errors import Forbidden
from placement_api.policies import SEEN_BY_RULES, Enforcer
from tests.placement_api.client import config_of

RULE = "placement:traits:list"


def test_what_rules_can_look_at_is_known():
    """An answer is used again for a sender that looks the same to all rules."""
    assert {*SEEN_BY_RULES, "roles", "service_roles"} == RequestContext().to_policy_values().keys()


@pytest.mark.parametrize("roles", [["reader"], [], ["member", "reader"]])
def test_answers_are_not_those_for_others(roles):
    enforcer = Enforcer(config_of())
    enforcer.authorize(RequestContext(user_id="one", roles=["admin"]), RULE)
    with pytest.raises(Forbidden):
        enforcer.authorize(RequestContext(user_id="one", roles=roles), RULE)
    # Roles of a service's own token count for nothing here.
    with pytest.raises(Forbidden):
        enforcer.authorize(RequestContext(user_id="one", roles=roles, service_roles=["admin"]), RULE)
