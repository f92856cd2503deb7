"""Classes of deployers: by class path and by entry point, as the configuration names them, and the
errors of those that cannot be loaded."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from nova_sched.filters import BUILT_IN as FILTERS
from nova_sched.scheduler import config, plugins
from nova_sched.selection.policy import Policy
from nova_sched.weighers import BUILT_IN as WEIGHERS
from rpc_api import errors, events
from tests.asked import Asked
from tests.builders import claim, group, of, report, request, uuid_of
from tests.end_to_end.test_config import conf_of

GUIDE = Path(__file__).resolve().parents[2] / "docs/operating/custom-filters.md"
ALL = "nova.scheduler.filters.all_filters"
MODULE = '''
"""Classes of a deployer."""
import abc
from nova_sched.filters import Filter, Refusal
from nova_sched.weighers import Weigher


class Passing:
    RUN_ON_REBUILD = True

    def host_passes(self, host_state, spec_obj):
        return True


class Columns(Filter):
    def refusals(self, hosts, request, policy, scope):
        yield Refusal("crowded", hosts.column("num_instances") > 1)


class Abstract(abc.ABC):
    @abc.abstractmethod
    def host_passes(self, host_state, spec_obj):
        """No filter yet."""


class _Hidden(Passing):
    pass


class ComputeFilter(Passing):
    pass


class Even:
    def _weigh_object(self, host_state, weight_properties):
        return 1.0


class Level(Weigher):
    default_multiplier = 7.0

    def raw(self, table, rows, request, scope):
        return None


class Grumpy(Passing):
    def __init__(self):
        raise RuntimeError("not today")


def some():
    return [Passing]


def none():
    raise LookupError("no list")


NUMBER = 4
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Modules of a deployer that can be imported, and a way to add one, or entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name, text, entry_points=None):
        (tmp_path / f"{name}.py").write_text(text)
        if entry_points:
            info = tmp_path / f"{name}-1.0.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            (info / "entry_points.txt").write_text(
                "\n".join(
                    f"[{of}]\n" + "\n".join(f"{key} = {value}" for key, value in points.items())
                    for of, points in entry_points.items()
                )
            )

    yield add
    for name in [name for name in sys.modules if name.startswith("deployer_")]:
        del sys.modules[name]


def load(*available, enabled=(), weight_classes=()):
    return plugins.load(available, enabled, weight_classes)


def filters_of(*available, enabled=()):
    catalogue, _ = load(*available, enabled=enabled)
    return {name for name in catalogue.filters if name not in FILTERS}


def test_what_is_built_in():
    catalogue, used = load(ALL, weight_classes=["nova.scheduler.weights.all_weighers"])
    assert catalogue.filters == FILTERS and catalogue.weighers == WEIGHERS and used == tuple(WEIGHERS)


def test_paths_of_nova_mean_what_is_built_in():
    catalogue, used = load(
        "nova.scheduler.filters.compute_filter.ComputeFilter",
        weight_classes=["nova.scheduler.weights.ram.RAMWeigher", "CPUWeigher"],
    )
    assert catalogue.filters == {"ComputeFilter": FILTERS["ComputeFilter"]} and used == ("RAMWeigher", "CPUWeigher")


@pytest.mark.parametrize(
    "path, found",
    [
        ("deployer_a.Passing", {"Passing"}),
        ("deployer_a.Columns", {"Columns"}),
        ("deployer_a.some", {"Passing"}),
        ("deployer_b", {"Passing", "Columns"}),
    ],
)
def test_class_paths(package, path, found):
    package("deployer_a", MODULE)
    package("deployer_b", re.sub(r"class (ComputeFilter|Grumpy)\b", r"class _\1", MODULE))
    assert filters_of(path) == found
    assert filters_of(ALL, path, path) == found


def test_a_rebuild_asks_who_says_so(package):
    package("deployer_a", MODULE)
    catalogue, _ = load("deployer_a.Passing", "deployer_a.Columns")
    assert {name: one.on_rebuild for name, one in catalogue.filters.items()} == {"Passing": True, "Columns": False}


def test_weighers(package):
    package("deployer_a", MODULE)
    catalogue, used = load(weight_classes=["RAMWeigher", "deployer_a.Even", "deployer_a.Level"])
    assert used == ("RAMWeigher", "Even", "Level")
    assert {name: catalogue.weighers[name].name for name in used} == {name: name for name in used}


ENTRY_POINTS = {
    "nova_sched.filters": {
        "passing": "deployer_a:Passing",
        "broken": "deployer_a:Nowhere",
        "number": "deployer_a:NUMBER",
        "never": "deployer_missing:Filter",
    },
    "nova_sched.weighers": {"even": "deployer_a:Even", "level": "deployer_a:Level"},
}


def test_entry_points_are_loaded_if_they_are_enabled(package):
    package("deployer_a", MODULE, ENTRY_POINTS)
    assert filters_of(ALL) == set()
    assert "deployer_a" not in sys.modules
    catalogue, used = load(ALL, enabled=["ComputeFilter", "passing"], weight_classes=["even", "level"])
    assert used == ("even", "level") and catalogue.filters["passing"].name == "passing"
    assert catalogue.filters["passing"] in Policy(catalogue=catalogue, enabled_filters=("passing",)).filters


WRONG = [
    (
        {"available": ["deployer_nowhere.Filter"]},
        "the filter deployer_nowhere.Filter cannot be loaded "
        "(ModuleNotFoundError: No module named 'deployer_nowhere'); fix its package, "
        "or [filter_scheduler] available_filters",
    ),
    ({"available": ["deployer_a.Nowhere"]}, "the filter deployer_a.Nowhere cannot be loaded (AttributeError: "),
    ({"available": ["deployer_a.NUMBER"]}, "deployer_a.NUMBER is not a filter, a module with one"),
    ({"available": ["deployer_a.Even"]}, "deployer_a.Even is not a filter"),
    ({"available": ["deployer_a.none"]}, "the filter deployer_a.none cannot be loaded (LookupError: no list)"),
    ({"available": ["deployer_a.Grumpy"]}, "the filter deployer_a.Grumpy cannot be loaded (RuntimeError: not today)"),
    ({"available": ["deployer_a.Abstract"]}, "the filter deployer_a.Abstract cannot be loaded (TypeError: "),
    ({"available": ["deployer_wrong.Filter"]}, "the filter deployer_wrong.Filter cannot be loaded (IndentationError: "),
    (
        {"available": ["deployer_needs.Filter"]},
        "the filter deployer_needs.Filter cannot be loaded "
        "(ModuleNotFoundError: No module named 'nothing_of_that_name')",
    ),
    ({"available": ["deployer_empty"]}, "deployer_empty is not a filter"),
    ({"available": ["word"]}, "the filter word cannot be loaded (ModuleNotFoundError: "),
    ({"available": [""]}, "the filter '' cannot be loaded"),
    (
        {"available": ["deployer_a.ComputeFilter"]},
        "the class ComputeFilter of deployer_a.ComputeFilter has the name of a built-in filter",
    ),
    (
        {"available": ["deployer_a.Passing", "deployer_c.Passing"]},
        "deployer_c.Passing and deployer_a both have a filter Passing",
    ),
    (
        {"available": [], "enabled": ["broken"]},
        "the filter broken (deployer_a:Nowhere) cannot be loaded (AttributeError: ",
    ),
    (
        {"available": [], "enabled": ["never"]},
        "the filter never (deployer_missing:Filter) cannot be loaded (ModuleNotFoundError",
    ),
    (
        {"available": [], "enabled": ["number"]},
        "the entry point number (deployer_a:NUMBER) of nova_sched.filters is not a filter",
    ),
    (
        {"weight_classes": ["Nobody"]},
        "there is no weigher 'Nobody', wanted nova.scheduler.weights.all_weighers, a "
        "class path, an entry point of nova_sched.weighers or some of",
    ),
    ({"weight_classes": ["deployer_a.Passing"]}, "deployer_a.Passing is not a weigher"),
    ({"weight_classes": ["deployer_nowhere.W"]}, "the weigher deployer_nowhere.W cannot be loaded"),
]


@pytest.mark.parametrize("wanted, text", WRONG, ids=[text[:60] for _, text in WRONG])
def test_what_cannot_be_loaded(package, wanted, text):
    package("deployer_a", MODULE, ENTRY_POINTS)
    package("deployer_c", MODULE)
    package("deployer_wrong", "class Filter:\n")
    package("deployer_needs", "import nothing_of_that_name\n")
    package("deployer_empty", "")
    with pytest.raises(errors.UsageError) as met:
        load(*wanted.pop("available", ()), **wanted)
    assert str(met.value).startswith(text) and "; " in str(met.value)


def test_a_name_that_is_nowhere_is_told_as_ever(tmp_path):
    conf = conf_of(tmp_path, {"filter_scheduler": {"enabled_filters": "ComputeFilter,Nobody"}})
    with pytest.raises(
        errors.UsageError, match=r"no filter 'Nobody', wanted one of .*; fix \[filter_scheduler\] enabled_filters or av"
    ):
        config.policy_of(conf)


def test_what_is_not_available_cannot_be_enabled(package, tmp_path):
    package("deployer_a", MODULE)
    conf = conf_of(
        tmp_path,
        {"filter_scheduler": {"available_filters": "deployer_a.Passing", "enabled_filters": "Passing,ComputeFilter"}},
    )
    with pytest.raises(errors.UsageError, match="there is no filter 'ComputeFilter', wanted one of Passing"):
        config.policy_of(conf)


def test_the_multiplier_of_a_class_is_its_own(package, tmp_path):
    package("deployer_a", MODULE)
    conf = conf_of(
        tmp_path,
        {
            "filter_scheduler": {
                "weight_classes": "RAMWeigher,deployer_a.Even,deployer_a.Level",
                "ram_weight_multiplier": 3,
            }
        },
    )
    assert config.policy_of(conf).weighers == (("RAMWeigher", 3.0), ("Even", 1.0), ("Level", 7.0))


# --- the guide ---------------------------------------------------------------------------------------------------


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(package, monkeypatch):
    """The guide's package, installed."""
    (project,) = map(tomllib.loads, blocks("toml"))
    (source,) = blocks("python")
    package("example_filters", source, project["project"]["entry-points"])
    yield
    sys.modules.pop("example_filters", None)


@pytest.mark.parametrize(
    "number, names", [(0, ("LicenceFilter", "ProjectSpreadWeigher")), (1, ("licence", "project_spread"))]
)
def test_the_guides_example(example, tmp_path, number, names):
    conf = conf_of(tmp_path, {})
    (tmp_path / "a.conf").write_text(blocks("ini")[number])
    conf.reload_config_files()
    policy = config.policy_of(conf)
    assert policy.enabled_filters[1] == names[0] and policy.weighers[-1] == (names[1], 1.0)
    cloud = Asked(report("h1"), report("h2"), report("h3"), policy=policy, cells=None)
    cloud.cell.say(events.AggregateUpdated(uuid_of("a1"), "a1", ("h1", "h2"), {"windows_licence": "true"}))
    cloud.in_flight.add(claim("vm-1", "h1", of("h1", 1)))
    windows = request(group(VCPU=1), image_properties={"os_type": "windows"})
    assert cloud.refusals(windows) == [(names[0], "LicenceFilter", 1)]
    assert cloud.survivors(request()) == ["h1", "h2", "h3"]
    decision = cloud.decide(windows)
    assert [candidate.host for candidate in decision.candidates] == ["h2"]
    assert {score.host: score.weighers[-1][:2] for score in decision.scores} == {
        "h2": (names[1], 0.0),
        "h1": (names[1], -1.0),
    }
