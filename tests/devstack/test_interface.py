"""The functions and variables of devstack that the plugin uses: interface.py beside stubs, plugin and devstack."""

import os
import re
from pathlib import Path

import pytest

from tests.devstack.cloud import HERE, PLUGIN
from tests.devstack.interface import FUNCTIONS, VARIABLES
from tests.devstack.real import VARIABLE

SHELL = "\n".join(
    path.read_text() for path in sorted(PLUGIN.rglob("*")) if path.is_file() and path.suffix in ("", ".sh")
)
#: The plugin without comments and texts.
CODE = re.sub(r"#.*", "", SHELL)


def test_stubs_are_what_is_listed():
    stubs = set(re.findall(r"^function ([a-z]\w*) {", (HERE / "stubs.sh").read_text(), re.MULTILINE))
    # sudo is a command.
    assert stubs - {"sudo"} == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_plugin_calls_it(name):
    assert re.search(rf"(?<![\w-]){name}(?![\w-])", CODE)


@pytest.mark.parametrize("name", VARIABLES)
def test_the_plugin_reads_it(name):
    assert re.search(rf"\$\{{?{name}\b", CODE) or re.search(rf"\b{name} \*", CODE)


@pytest.fixture(scope="module")
def devstack():
    if VARIABLE not in os.environ:
        pytest.skip(f"{VARIABLE} does not name a checkout of devstack")
    return Path(os.environ[VARIABLE])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_devstack_has_the_function(devstack, name):
    file, parameters = FUNCTIONS[name]
    found = re.search(rf"^function {name} {{\n(.*?)^}}", (devstack / file).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{file} of devstack has no function {name}"
    declared = {}
    for parameter, number in re.findall(r"local (\w+)=[\"]?\$\{?(\d)", found[1]):
        declared.setdefault(int(number), parameter)
    assert tuple(declared[number] for number in sorted(declared))[: len(parameters)] == parameters
    if not parameters:
        assert not declared or name in ("is_service_enabled", "setup_logging")


@pytest.mark.parametrize("name", VARIABLES)
def test_devstack_sets_the_variable(devstack, name):
    assert re.search(rf"^\s*(?:export )?{name}=", (devstack / VARIABLES[name]).read_text(), re.MULTILINE)
