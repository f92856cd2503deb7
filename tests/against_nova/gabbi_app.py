"""Our Placement API in place of Placement's application, for Placement's own API tests.

Each configuration has a region of its own, over a log in memory, for as long as its fixture lasts. What a fixture
writes with Placement's objects is repeated there (:mod:`tests.against_nova.gabbi_tee`).
"""

import functools
import tempfile

import yaml
from placement import deploy
from placement.tests.functional.fixtures import gabbits
from placement.tests.unit.policy_fixture import PolicyFixture

from placement_api import config
from placement_api.app import make_app
from placement_api.region import Region
from tests.against_nova import gabbi_tee

#: id of a configuration -> its region, while its fixture lasts.
_regions = {}


def install():
    """From now on our application answers the tests."""
    deploy.loadapp = _loadapp
    gabbi_tee.install(_write)
    gabbits.APIFixture.stop_fixture = _before(_close, gabbits.APIFixture.stop_fixture)
    PolicyFixture.set_rules = staticmethod(_set_rules)


def _loadapp(conf, project_name=None):
    config.register(conf)
    # What a fixture sets is not in a file, where an option is also found under its old name.
    for option in config.OPTS:
        for old in option.deprecated_opts:
            if old.group in conf and old.name in conf[old.group]:
                conf.set_override(option.name, conf[old.group][old.name], config.GROUP.name)
    return make_app(conf, _region_of(conf))


def _region_of(conf):
    if id(conf) not in _regions:
        _regions[id(conf)] = Region.in_memory()
    return _regions[id(conf)]


def _write(conf, event):
    written = _region_of(conf).write(event)
    assert written.reason is None, f"{event} has no effect: {written.reason}"


def _close():
    region = _regions.pop(id(gabbits.CONF), None)
    if region is not None:
        region.close()


def _before(first, function):
    @functools.wraps(function)
    def both(*arguments):
        first()
        return function(*arguments)

    return both


def _set_rules(rules, overwrite=True):
    """The rules that a fixture sets come to us as an operator's would, in a policy file."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="policy-", delete=False) as file:
        yaml.safe_dump(rules, file)
    gabbits.CONF.set_override("policy_file", file.name, "oslo_policy")
