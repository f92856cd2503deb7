"""The options: what they add up to, and that their names and defaults are nova's."""

import tomllib
from importlib import import_module

import pytest
from oslo_config import cfg

from nova_sched import weighers
from nova_sched.scheduler import config
from nova_sched.selection.policy import Policy
from rpc_api import errors
from tests.end_to_end.processes import ROOT, config_text

#: nova 34's: name, default, least value. Those of ours that nova does not have are not here.
NOVA = {
    ("scheduler", "max_attempts"): (3, 1),
    ("filter_scheduler", "host_subset_size"): (1, 1),
    ("filter_scheduler", "enabled_filters"): (
        [
            "ComputeFilter",
            "ComputeCapabilitiesFilter",
            "ImagePropertiesFilter",
            "ServerGroupAntiAffinityFilter",
            "ServerGroupAffinityFilter",
        ],
        None,
    ),
    ("filter_scheduler", "ram_weight_multiplier"): (1.0, None),
    ("filter_scheduler", "cpu_weight_multiplier"): (1.0, None),
    ("filter_scheduler", "disk_weight_multiplier"): (1.0, None),
    ("filter_scheduler", "soft_affinity_weight_multiplier"): (1.0, 0.0),
    ("filter_scheduler", "soft_anti_affinity_weight_multiplier"): (1.0, 0.0),
    ("filter_scheduler", "hypervisor_version_weight_multiplier"): (1.0, None),
    ("filter_scheduler", "num_instances_weight_multiplier"): (0.0, None),
    ("filter_scheduler", "io_ops_weight_multiplier"): (-1.0, None),
    ("filter_scheduler", "image_props_weight_multiplier"): (0.0, None),
    ("filter_scheduler", "image_props_weight_setting"): ([], None),
    ("filter_scheduler", "pci_weight_multiplier"): (1.0, 0.0),
    ("filter_scheduler", "build_failure_weight_multiplier"): (1000000.0, None),
    ("filter_scheduler", "cross_cell_move_weight_multiplier"): (1000000.0, None),
    ("metrics", "weight_multiplier"): (1.0, None),
    ("metrics", "weight_setting"): ([], None),
    ("metrics", "required"): (True, None),
    ("metrics", "weight_of_unavailable"): (-10000.0, None),
    ("filter_scheduler", "image_properties_default_architecture"): (None, None),
    ("filter_scheduler", "weight_classes"): (["nova.scheduler.weights.all_weighers"], None),
    ("DEFAULT", "default_availability_zone"): ("nova", None),
    ("neutron", "http_retries"): (3, 0),
    ("neutron", "extension_sync_interval"): (600, 0),
}


def conf_of(tmp_path, sections):
    path = tmp_path / "a.conf"
    path.write_text(config_text(sections))
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], default_config_files=[str(path)])
    return conf


def option_lists():
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["oslo.config.opts"]
    for name, target in entries.items():
        module, _, function = target.partition(":")
        yield name, getattr(import_module(module), function)()


def all_options():
    return [
        (str(getattr(group, "name", group) or "DEFAULT"), option)
        for _, listed in option_lists()
        for group, options in listed
        for option in options
    ]


@pytest.mark.parametrize("section, name", NOVA)
def test_nova_defaults(section, name):
    (option,) = [option for group, option in all_options() if (group, option.name) == (section, name)]
    assert (option.default, getattr(option.type, "min", None)) == NOVA[section, name]


def test_every_option_is_listed_once_and_has_a_help():
    found = [(group, option.name) for group, option in all_options()]
    assert sorted(set(found)) == sorted(found)
    assert [option.name for _, option in all_options() if not option.help] == []


def test_urls_with_passwords_are_secret():
    assert {(group, option.name) for group, option in all_options() if option.secret} == {
        ("cells", "cell0_log"),
        ("cell:NAME", "log"),
        ("cell:NAME", "transport_url"),
        ("snapshots", "url"),
        ("neutron", "password"),
        ("shadow", "url"),
        ("nova_sched", "url"),
        ("tap", "url"),
    }


def test_every_weigher_has_its_multiplier():
    found = {(group, option.name) for group, option in all_options()}
    assert {(one.group, one.option) for one in weighers.BUILT_IN.values()} <= found


def test_the_default_configuration_is_the_default_policy(tmp_path):
    assert config.policy_of(conf_of(tmp_path, {})) == Policy()


#: section -> options, what the policy has of it.
POLICIES = [
    ({"scheduler": {"max_attempts": 7}}, {"max_attempts": 7}),
    ({"filter_scheduler": {"host_subset_size": 5}}, {"host_subset_size": 5}),
    ({"filter_scheduler": {"enabled_filters": "ComputeFilter"}}, {"enabled_filters": ("ComputeFilter",)}),
    ({"filter_scheduler": {"enabled_filters": ""}}, {"enabled_filters": ()}),
    (
        {"filter_scheduler": {"weight_classes": "RAMWeigher", "ram_weight_multiplier": -2}},
        {"weighers": (("RAMWeigher", -2.0),)},
    ),
    (
        {"filter_scheduler": {"weight_classes": "nova.scheduler.weights.cpu.CPUWeigher,RAMWeigher,CPUWeigher"}},
        {"weighers": (("CPUWeigher", 1.0), ("RAMWeigher", 1.0))},
    ),
    ({"filter_scheduler": {"weight_classes": ""}}, {"weighers": ()}),
    (
        {
            "filter_scheduler": {"weight_classes": "nova.scheduler.weights.metrics.MetricsWeigher"},
            "metrics": {
                "weight_multiplier": 2,
                "weight_setting": "a=1, b = -2.5,a=3",
                "required": "false",
                "weight_of_unavailable": -5,
            },
        },
        {
            "weighers": (("MetricsWeigher", 2.0),),
            "metrics_weight_setting": (("a", 1.0), ("b", -2.5), ("a", 3.0)),
            "metrics_required": False,
            "metrics_weight_of_unavailable": -5.0,
        },
    ),
    (
        {
            "filter_scheduler": {
                "weight_classes": "nova.scheduler.weights.all_weighers,RAMWeigher",
                "image_props_weight_setting": "os_distro=2",
            }
        },
        {"weighers": Policy().weighers, "image_props_weight_setting": (("os_distro", 2.0),)},
    ),
    (
        {"filter_scheduler": {"image_properties_default_architecture": "x86_64"}},
        {"image_properties_default_architecture": "x86_64"},
    ),
    ({"DEFAULT": {"default_availability_zone": "az1"}}, {"default_availability_zone": "az1"}),
]


@pytest.mark.parametrize("sections, expected", POLICIES)
def test_policy(tmp_path, sections, expected):
    policy = config.policy_of(conf_of(tmp_path, sections))
    assert {name: getattr(policy, name) for name in expected} == expected
    assert policy.digest != Policy().digest


WRONG = [
    # section, option, value, what the error names
    ("filter_scheduler", "weight_classes", "NoWeigher", "no weigher 'NoWeigher'.*weight_classes"),
    ("filter_scheduler", "weight_classes", "ours.RAMWeigher", "the weigher ours.RAMWeigher cannot be loaded"),
    ("filter_scheduler", "ram_weight_multiplier", "nan", "ram_weight_multiplier is nan"),
    ("filter_scheduler", "build_failure_weight_multiplier", "-inf", "build_failure_weight_multiplier is -inf"),
    ("filter_scheduler", "image_props_weight_setting", "os_distro", "image_props_weight_setting has 'os_distro'"),
    ("metrics", "weight_multiplier", "1e301", "weight_multiplier is 1e.301"),
    ("metrics", "weight_setting", "a=1,b=much", "weight_setting has 'b=much'"),
    ("metrics", "weight_setting", "=1", "weight_setting has '=1'"),
    ("metrics", "weight_setting", "a=nan", "weight_setting has 'a=nan'"),
    ("metrics", "weight_of_unavailable", "inf", "weight_of_unavailable is inf"),
]


@pytest.mark.parametrize("section, option, value, named", WRONG)
def test_wrong_policy(tmp_path, section, option, value, named):
    with pytest.raises(errors.UsageError, match=named):
        config.policy_of(conf_of(tmp_path, {section: {option: value}}))


@pytest.mark.parametrize("option", ["pci", "soft_affinity", "soft_anti_affinity"])
def test_some_multipliers_may_not_be_negative(tmp_path, option):
    with pytest.raises(cfg.ConfigFileValueError):
        config.policy_of(conf_of(tmp_path, {"filter_scheduler": {f"{option}_weight_multiplier": -1}}))


def test_what_policies_depend_on_may_change():
    mutable = {option.name for _, option in all_options() if option.mutable}
    assert {
        "enabled_filters",
        "weight_classes",
        "ram_weight_multiplier",
        "default_availability_zone",
        "max_attempts",
    } <= mutable
    assert "claim_timeout" not in mutable


def test_cells(tmp_path):
    conf = conf_of(
        tmp_path,
        {
            "cells": {"cell0_log": "memory://zero", "enabled": "b,a"},
            "cell:a": {"log": "memory://a", "uuid": "11111111-AAAA-4aaa-8aaa-000000000001"},
            "cell:b": {"log": "memory://b", "uuid": "22222222aaaa4aaa8aaa000000000001"},
        },
    )
    cell0, cells = config.cells(conf)
    assert (cell0.name, cell0.log, cell0.uuid) == ("cell0", "memory://zero", "00000000-0000-0000-0000-000000000000")
    assert [(cell.name, cell.uuid, cell.log) for cell in cells] == [
        ("b", "22222222-aaaa-4aaa-8aaa-000000000001", "memory://b"),
        ("a", "11111111-aaaa-4aaa-8aaa-000000000001", "memory://a"),
    ]


def test_two_cells_may_not_share_a_log(tmp_path):
    same = {"log": "memory://same", "uuid": "11111111-aaaa-4aaa-8aaa-000000000001"}
    conf = conf_of(
        tmp_path, {"cells": {"cell0_log": "memory://zero", "enabled": "a,b"}, "cell:a": same, "cell:b": same}
    )
    with pytest.raises(errors.UsageError, match="b and a have the same log"):
        config.cells(conf)
