"""The plugin's README against what the plugin does."""

import re

import pytest

from tests.devstack.cloud import PLUGIN, Cloud

README = (PLUGIN / "README.rst").read_text()
SETTINGS = re.findall(
    r"^(NOVA_SCHED_\w+)=(?:.*\$\{\1:-|\$\(trueorfalse)", (PLUGIN / "settings").read_text(), re.MULTILINE
)


def test_settings_were_found():
    assert {"NOVA_SCHED_CONF", "NOVA_SCHED_LOG_MAX_AGE", "NOVA_SCHED_REPLACE_NSCH"} <= set(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS)
def test_every_setting_has_its_line(setting):
    assert re.search(rf"^``{setting}`` ", README, re.MULTILINE)


def test_every_option_has_its_line(tmp_path):
    cloud = Cloud(tmp_path / "host")
    cloud.run("stack", "post-config")
    options = {(section, option) for section, options in cloud.conf().items() for option in options}
    options.remove(("DEFAULT", "logging_exception_prefix"))  # setup_logging's
    documented = set(re.findall(r"^``\[(\S+)\]`` +``(\w+)`` ", README, re.MULTILINE))
    assert documented == options


def test_sample_names_real_settings(tmp_path):
    sample = (PLUGIN / "local.conf.sample").read_text()
    assert set(re.findall(r"NOVA_SCHED_\w+", sample)) <= set(SETTINGS)


def test_sample_works(tmp_path):
    """The sample's localrc, as it is and with every commented line in it active, is one that the plugin accepts."""
    sample = (PLUGIN / "local.conf.sample").read_text()
    localrc = sample.partition("[[local|localrc]]\n")[2].partition("\n# Any other option")[0]
    for number, text in enumerate([localrc, re.sub(r"^#(?! )", "", localrc, flags=re.MULTILINE)]):
        cloud = Cloud(tmp_path / f"host{number}", vhosts=("/", "nova_cell1", "nova_cell2"))
        cloud.set_localrc("function enable_plugin { :; }\n" + text)
        cloud.stack()
        assert ("nsch-agent" in cloud.services()) == (number == 0)
        cloud.run("clean")
