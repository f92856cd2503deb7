"""The options that filters, weighers and request filters declare are in the policy and in the configuration."""

import pytest
from oslo_config import cfg

from nova_sched.filters.options import Kind
from nova_sched.scheduler import config
from nova_sched.selection.policy import OPTIONS, Policy
from rpc_api import errors

#: A value of each kind in JSON, and values that are of another kind.
VALUES = {
    Kind.FLAG: ("true", ["1", '"true"', "null"]),
    Kind.WHOLE: ("7", ["7.5", '"7"', "true"]),
    Kind.NUMBER: ("0.5", ['"0.5"', "null", "true"]),
    Kind.TEXT: ('"text"', ["1", '["text"]']),
    Kind.TEXTS: ('["a", "b"]', ['"a"', "[1]", '[["a", 1.0]]']),
    Kind.WEIGHTS: ('[["a", 1.5]]', ['["a"]', '[["a", "1.5"]]', '[["a"]]']),
}


def test_the_digest_of_the_default_policy_changes_only_with_its_options():
    """Decisions in logs name it. An older log contains its own policy, so another digest does no harm to it."""
    assert Policy().digest == "d5380e430e08b9a9", (
        "the digest of the default policy is another one; if you added an option to the policy, write the new digest "
        "here, else undo what changed the names or the defaults of the options"
    )


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.field)
def test_an_option_is_read_back_from_a_recorded_policy(option):
    good, bad = VALUES[option.kind]
    policy = Policy.from_json(f'{{"{option.field}": {good}}}')
    is_other = getattr(policy, option.field) != getattr(Policy(), option.field) or option.default is True
    assert is_other, f"the default of {option.field} is the value of VALUES; write another value there"
    assert Policy.from_json(policy.to_json()) == policy
    for value in bad:
        with pytest.raises(errors.InvalidEvent, match=f"{option.field} is of another kind"):
            Policy.from_json(f'{{"{option.field}": {value}}}')


def test_the_policy_of_a_configuration_without_options_is_the_default_one():
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    assert config.policy_of(conf) == Policy()


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.field)
def test_an_option_is_one_of_oslo_config(option):
    made = config.oslo_option(option)
    assert (made.name, made.help, made.mutable) == (option.name, option.help, True)
    assert (tuple(made.default) if isinstance(made.default, list) else made.default) == option.default
    assert getattr(made.type, "min", None) == option.least
