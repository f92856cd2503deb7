"""Who sees what: one rule of oslo.policy."""

import copy

from oslo_context.context import RequestContext
from oslo_policy import policy

from rpc_api import errors

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
    """The rules as they are configured; UsageError if the policy file cannot be used."""

    def __init__(self, conf):
        self._enforcer = policy.Enforcer(conf)
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.register_defaults(list_rules())
        try:
            self._enforcer.load_rules()
        except Exception as fault:
            # oslo.policy raises what its reader of YAML, and its own code, meet.
            named = self._enforcer.policy_path or self._enforcer.policy_file
            raise errors.UsageError(
                f"the policy file cannot be used ({' '.join(str(fault).split())}); fix {named}"
            ) from None

    def sees_all(self, context: RequestContext) -> bool:
        """Return whether a user sees all projects."""
        try:
            return bool(self._enforcer.authorize(ALL_PROJECTS, {}, context))
        except policy.InvalidScope:
            return False
