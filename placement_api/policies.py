"""Who may do what: the rules of the policy, with Placement's names and defaults.

``policy.yaml`` overrides them. A file that was written for Placement can be used as it is.
"""

import copy
import operator
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_context.context import RequestContext
from oslo_log import versionutils
from oslo_policy import policy

from nova_sched.process.policy_rules import PolicyRules
from placement_api.http_errors import Forbidden
from rpc_api.clock import SYSTEM, Clock

#: An answer of the rules is used again for so many seconds: a rule may ask a server, and directories of rules may come.
ANSWERS_LAST = 1.0
ANSWERS_MAX = 10_000

#: What rules can look at of the sender of a request, beside the roles: see RequestContext.to_policy_values.
SEEN_BY_RULES = (
    "user_id",
    "user_domain_id",
    "system_scope",
    "domain_id",
    "project_id",
    "project_domain_id",
    "is_admin_project",
    "service_user_id",
    "service_user_domain_id",
    "service_project_id",
    "service_project_domain_id",
)

_seen_by_rules = operator.attrgetter(*SEEN_BY_RULES)

ADMIN_OR_SERVICE = "rule:admin_or_service_api"
SERVICE = "rule:service_api"
ADMIN_OR_PROJECT_READER_OR_SERVICE = "rule:admin_or_project_reader_or_service_api"
#: All rules are for tokens of a project; a token of the system is refused while [oslo_policy] enforce_scope is set.
_SCOPES = ["project"]

_OLD_DEFAULT = policy.DeprecatedRule(
    name="rule:admin_api",
    check_str="role:admin",
    deprecated_reason="OpenStack's services have the role service, and members of a project may see its own usage.",
    deprecated_since=versionutils.deprecated.WALLABY,
)


def _base(
    name: str,
    check: str,
    description: str,
    scopes: list[str] | None = _SCOPES,
    old: policy.DeprecatedRule | None = None,
) -> policy.RuleDefault:
    return policy.RuleDefault(name, check, description, old, scope_types=scopes)


def _rule(name: str, description: str, *operations: tuple[str, str], check: str = ADMIN_OR_SERVICE) -> Any:
    return policy.DocumentedRuleDefault(
        name, check, description, [{"method": method, "path": path} for method, path in operations], scope_types=_SCOPES
    )


_PROVIDERS = "/resource_providers"
_PROVIDER = f"{_PROVIDERS}/{{uuid}}"
_INVENTORIES = f"{_PROVIDER}/inventories"
_INVENTORY = f"{_INVENTORIES}/{{resource_class}}"
_CONSUMER = "/allocations/{consumer_uuid}"

_RULES = (
    _base("admin_api", "role:admin", "An administrator."),
    _base("service_api", "role:service", "Another service of OpenStack.", old=_OLD_DEFAULT),
    _base(
        "admin_or_service_api", "role:admin or role:service", "An administrator, or another service.", old=_OLD_DEFAULT
    ),
    _base(
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "A reader of the project that is asked about.",
        scopes=None,
        old=_OLD_DEFAULT,
    ),
    _base(
        "admin_or_project_reader_or_service_api",
        "role:admin or rule:project_reader_api or role:service",
        "An administrator, another service, or a reader of the project that is asked about.",
        old=_OLD_DEFAULT,
    ),
    _rule("placement:resource_providers:list", "List resource providers.", ("GET", _PROVIDERS)),
    _rule("placement:resource_providers:create", "Create a resource provider.", ("POST", _PROVIDERS)),
    _rule("placement:resource_providers:show", "Show a resource provider.", ("GET", _PROVIDER)),
    _rule("placement:resource_providers:update", "Rename or move a resource provider.", ("PUT", _PROVIDER)),
    _rule("placement:resource_providers:delete", "Delete a resource provider.", ("DELETE", _PROVIDER)),
    _rule("placement:resource_classes:list", "List resource classes.", ("GET", "/resource_classes")),
    _rule("placement:resource_classes:create", "Create a resource class.", ("POST", "/resource_classes")),
    _rule("placement:resource_classes:show", "Show a resource class.", ("GET", "/resource_classes/{name}")),
    _rule(
        "placement:resource_classes:update",
        "Rename a resource class, or create it from microversion 1.7 on.",
        ("PUT", "/resource_classes/{name}"),
    ),
    _rule("placement:resource_classes:delete", "Delete a resource class.", ("DELETE", "/resource_classes/{name}")),
    _rule("placement:resource_providers:inventories:list", "List a provider's inventories.", ("GET", _INVENTORIES)),
    _rule("placement:resource_providers:inventories:create", "Add an inventory.", ("POST", _INVENTORIES)),
    _rule("placement:resource_providers:inventories:show", "Show an inventory.", ("GET", _INVENTORY)),
    _rule(
        "placement:resource_providers:inventories:update",
        "Write one or all inventories of a provider.",
        ("PUT", _INVENTORIES),
        ("PUT", _INVENTORY),
    ),
    _rule(
        "placement:resource_providers:inventories:delete",
        "Delete one or all inventories of a provider.",
        ("DELETE", _INVENTORIES),
        ("DELETE", _INVENTORY),
    ),
    _rule(
        "placement:resource_providers:aggregates:list",
        "List the aggregates of a provider.",
        ("GET", f"{_PROVIDER}/aggregates"),
    ),
    _rule(
        "placement:resource_providers:aggregates:update",
        "Write the aggregates of a provider.",
        ("PUT", f"{_PROVIDER}/aggregates"),
    ),
    _rule("placement:resource_providers:usages", "Show what is used of a provider.", ("GET", f"{_PROVIDER}/usages")),
    _rule(
        "placement:usages", "Show what a project uses.", ("GET", "/usages"), check=ADMIN_OR_PROJECT_READER_OR_SERVICE
    ),
    _rule("placement:traits:list", "List traits.", ("GET", "/traits")),
    _rule("placement:traits:show", "Show a trait.", ("GET", "/traits/{name}")),
    _rule("placement:traits:update", "Create a trait.", ("PUT", "/traits/{name}")),
    _rule("placement:traits:delete", "Delete a trait.", ("DELETE", "/traits/{name}")),
    _rule("placement:resource_providers:traits:list", "List the traits of a provider.", ("GET", f"{_PROVIDER}/traits")),
    _rule(
        "placement:resource_providers:traits:update", "Write the traits of a provider.", ("PUT", f"{_PROVIDER}/traits")
    ),
    _rule(
        "placement:resource_providers:traits:delete",
        "Remove all traits of a provider.",
        ("DELETE", f"{_PROVIDER}/traits"),
    ),
    _rule("placement:allocations:manage", "Write the allocations of several consumers.", ("POST", "/allocations")),
    _rule("placement:allocations:list", "List the allocations of a consumer.", ("GET", _CONSUMER)),
    _rule("placement:allocations:update", "Write the allocations of a consumer.", ("PUT", _CONSUMER)),
    _rule("placement:allocations:delete", "Delete the allocations of a consumer.", ("DELETE", _CONSUMER)),
    _rule(
        "placement:resource_providers:allocations:list",
        "List the allocations of a provider.",
        ("GET", f"{_PROVIDER}/allocations"),
    ),
    _rule("placement:allocation_candidates:list", "List allocation candidates.", ("GET", "/allocation_candidates")),
    _rule(
        "placement:reshaper:reshape",
        "Move inventories and allocations between providers.",
        ("POST", "/reshaper"),
        check=SERVICE,
    ),
)


def list_rules() -> list[policy.RuleDefault]:
    """All rules, for oslopolicy-sample-generator and its siblings."""
    # An enforcer changes the defaults that it registers.
    return copy.deepcopy(list(_RULES))


class Enforcer:
    """The rules as they are configured; UsageError if the policy file cannot be used. If it cannot be used after a
    change, the rules stay as they were."""

    def __init__(self, conf: cfg.ConfigOpts, clock: Clock = SYSTEM) -> None:
        self._clock = clock
        #: What the rules answered since ``_answered_since``, by all that they could look at.
        self._answers: dict[object, bool] = {}
        self._answered_since = clock.monotonic()
        self._rules = PolicyRules(conf, list_rules)

    def authorize(self, context: RequestContext, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Forbidden unless the sender of a request may do what ``rule`` is about, to ``target``: by default to what is
        the sender's own."""
        if target is None:
            target = {"project_id": context.project_id, "user_id": context.user_id}
        # oslo.policy looks for files each time and inspects its checks: that takes more time than the rest of a GET.
        sender = (*_seen_by_rules(context), *context.roles, None, *context.service_roles)
        key = rule, self._rules.version, sender, *target.items()
        now = self._clock.monotonic()
        if now - self._answered_since > ANSWERS_LAST or len(self._answers) >= ANSWERS_MAX:
            self._answers, self._answered_since = {}, now
        allowed = self._answers.get(key)
        if allowed is None:
            allowed = self._answers[key] = self._rules.allows(context, rule, target)
        if not allowed:
            raise Forbidden(f"Policy does not allow {rule} to be performed.")
