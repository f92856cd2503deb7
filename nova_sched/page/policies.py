"""Who sees what: one rule of oslo.policy."""

import copy

from oslo_context.context import RequestContext
from oslo_policy import policy

from nova_sched.process.policy_rules import PolicyRules

ALL_PROJECTS = "page:all_projects"
_RULES = (
    policy.DocumentedRuleDefault(
        ALL_PROJECTS,
        "role:admin or (role:reader and system_scope:all)",
        "See the hosts, and the requests, decisions and instances of all projects. Others see those of their project.",
        [{"method": "GET", "path": "/api/..."}],
        scope_types=["system", "project"],
    ),
)


def list_rules() -> list[policy.RuleDefault]:
    """Return all rules, for oslopolicy-sample-generator."""
    # An enforcer changes the defaults that it registers.
    return copy.deepcopy(list(_RULES))


class Rules:
    """The rules as they are configured; UsageError if the policy file cannot be used. If it cannot be used after a
    change, the rules stay as they were."""

    def __init__(self, conf):
        self._rules = PolicyRules(conf, list_rules)

    def sees_all(self, context: RequestContext) -> bool:
        """Return whether a user sees all projects."""
        return self._rules.allows(context, ALL_PROJECTS, {})
