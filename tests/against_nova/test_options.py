"""Beside the real nova: the names under which it reads the options that we have too, and what it has and we have
not."""

import pytest
from oslo_config import cfg

from compute_agent import config as agents
from nova_sched.process import nova_options, unread_options
from nova_sched.scheduler import config
from tests.against_nova.conftest import running_peer
from tests.end_to_end.test_config import all_options

pytestmark = pytest.mark.nova

SPECS = ['{"devname": "p5p1", "physical_network": "physnet1"}', '[{"vendor_id": "8086", "product_id": "154d"}]']


@pytest.fixture(scope="module")
def nova():
    yield from running_peer("nova", "nova_options.py")


def test_old_names_that_nova_reads_are_read(nova):
    ours = {}
    for section, option in all_options():
        ours[section, option.dest] = {(old.group or section, old.name or option.dest) for old in option.deprecated_opts}
    wanted = {(section, name): set(map(tuple, old)) for section, name, old in nova.ask("old_names")["answer"] if old}
    assert {("pci", "device_spec")} <= {*wanted} & {*ours}
    missing = {key: old - ours[key] for key, old in wanted.items() if key in ours and not old <= ours[key]}
    assert missing == {}


@pytest.mark.parametrize(
    "section, name",
    [("pci", "device_spec"), ("pci", "passthrough_whitelist"), ("DEFAULT", "pci_passthrough_whitelist")],
)
def test_devices_are_what_nova_reads(nova, tmp_path, section, name):
    path = tmp_path / "nova.conf"
    path.write_text(f"[{section}]\n" + "".join(f"{name} = {spec}\n" for spec in SPECS))
    conf = cfg.ConfigOpts()
    agents.register(conf)
    conf(["--config-file", str(path)], default_config_dirs=[])
    assert conf.pci.device_spec == nova.ask("value", str(path), "pci", "device_spec")["answer"] == SPECS


def test_every_option_of_nova_is_known(nova, tmp_path):
    """No option of a copied nova.conf is taken for a mistyped one."""
    sections = {}
    for section, name, old in nova.ask("old_names")["answer"]:
        for group, option in [(section, name), *old]:
            sections.setdefault(group, set()).add(option)
    path = tmp_path / "nova.conf"
    path.write_text(
        "".join(
            f"[{section}]\n" + "".join(f"{name} =\n" for name in sorted(names)) for section, names in sections.items()
        ).replace("auth_type =", "auth_type = password")
    )
    conf = cfg.ConfigOpts()
    config.register(conf)
    # Only the names matter: the values would not do.
    conf([], default_config_files=[], default_config_dirs=[])
    said = list(unread_options.unread(conf, [str(path)]))
    assert [one for one in said if "is an option of Nova" not in one and "are options of Nova" not in one] == []
    assert len(said) > 40


def test_what_has_no_effect_here_is_none_of_ours():
    ours = {(section, option.dest) for section, option in all_options()}
    assert not ours & {*nova_options.OPTIONS}
