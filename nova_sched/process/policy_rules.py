"""Rules of oslo.policy as they are configured. They are read again when their files change, as a whole or not at all.

oslo.policy itself would take a file that it cannot read for an empty one, and rules that need each other for usable.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from oslo_config import cfg
from oslo_context.context import RequestContext
from oslo_policy import policy

from rpc_api import errors

LOG = logging.getLogger(__name__)


class PolicyRules:
    """``list_rules()`` returns new defaults. UsageError if the policy file cannot be used. If it cannot be used after a
    change, that is logged, and the rules stay as they were."""

    def __init__(self, conf: cfg.ConfigOpts, list_rules: Callable[[], list[policy.RuleDefault]]) -> None:
        self._conf, self._list_rules = conf, list_rules
        self._read = self._files()
        try:
            self._rules = self._load()
        except Exception as fault:
            # oslo.policy raises what its reader of YAML, and its own code, meet.
            raise errors.UsageError(f"the policy file cannot be used ({_line(fault)}); fix {self._file}") from None

    @property
    def version(self) -> int:
        """When the policy file was changed, 0 without one: other rules may count then."""
        return _changed_ns(self._rules.policy_path) if self._rules.policy_path else 0

    def allows(self, context: RequestContext, rule: str, target: Mapping[str, Any]) -> bool:
        """Whether the sender of a request may do what a rule is about to a target."""
        if (found := self._files()) != self._read:
            self._read = found
            self._load_again()
        try:
            return bool(self._rules.authorize(rule, dict(target), context))
        except policy.InvalidScope:
            return False

    def _load_again(self) -> None:
        try:
            self._rules = self._load()
        except Exception as fault:
            LOG.error(
                "the rules of the policy stay as they were: %s cannot be used (%s); fix it", self._file, _line(fault)
            )

    def _load(self) -> policy.Enforcer:
        rules = policy.Enforcer(self._conf)
        # Rules have other defaults than before Wallaby, and oslo.policy would say so for each of them.
        rules.suppress_default_change_warnings = True
        rules.register_defaults(self._list_rules())
        for path in self._paths():
            if path == self._found() or not os.path.isdir(path):
                open(path, "rb").close()
        rules.load_rules()
        cyclic = [name for name, check in rules.rules.items() if _needs(name, check, rules.rules)]
        if cyclic:
            raise errors.UsageError(f"the rule {cyclic[0]} needs itself")
        named = self._conf.get_location("policy_file", "oslo_policy")
        if named is not None and named.location.is_user_controlled and not rules.policy_path:
            LOG.warning("the policy file %s is not there, so the default rules count", self._file)
        rules.use_conf = False  # it reads no files any more
        return rules

    def _found(self) -> str | None:
        """The path of the policy file; None if it is not there."""
        found: str | None = self._conf.find_file(self._conf.oslo_policy.policy_file)
        return found

    @property
    def _file(self) -> str:
        return str(self._found() or self._conf.oslo_policy.policy_file)

    def _paths(self) -> Iterator[str]:
        """The policy file, and the directories of others with what oslo.policy reads of them."""
        if (file := self._found()) is not None:
            yield file
        for named in self._conf.oslo_policy.policy_dirs:
            if (directory := self._conf.find_file(named)) is not None:
                yield directory
                if os.path.isdir(directory) and os.access(directory, os.R_OK):
                    names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
                    yield from (os.path.join(directory, name) for name in names)

    def _files(self) -> list[tuple[str, int]]:
        return [(path, _changed_ns(path)) for path in self._paths()]


def _changed_ns(path: str) -> int:
    """When a file, or who may read it, was changed; 0 if it is not there."""
    try:
        return os.stat(path).st_ctime_ns
    except OSError:
        return 0


def _needs(name: str, check: Any, rules: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a check, or a rule that it refers to, refers to the rule ``name``."""
    if isinstance(check, policy.RuleCheck) and check.match in rules and check.match not in seen:
        return check.match == name or _needs(name, rules[check.match], rules, seen | {check.match})
    inner = [check.rule] if isinstance(check, policy.NotCheck) else getattr(check, "rules", ())
    return any(_needs(name, one, rules, seen) for one in inner)


def _line(fault: Exception) -> str:
    """What a fault says, in one line."""
    return " ".join(str(fault).split())
