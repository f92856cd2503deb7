"""The layers: imports only go down, in one order, and the core is pure. A new import that goes up turns this red."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: The layers from the top down, one line for each: a package may import those of the lines under its own, and no other.
#: Packages of one line do not know each other.
ORDER = (
    ("nova_sched.osc",),
    ("nova_sched.cli",),
    ("nova_sched.playground", "nova_sched.operate", "nova_sched.migration", "nova_sched.page"),
    ("nova_sched.replay", "nova_sched.clients"),
    ("nova_sched.scheduler", "conductor", "compute_agent", "placement_api"),
    ("nova_sched.process",),
    ("nova_sched.selection",),
    ("nova_sched.weighers",),
    ("nova_sched.filters",),
    ("nova_sched.fit",),
    ("nova_sched.hosts",),
    ("nova_sched.request",),
    ("nova_sched.nova_compat", "nova_sched.nova_objects"),
    ("nova_sched.projection",),
    ("rpc_api",),
)
TOPS = ("nova_sched", "conductor", "compute_agent", "placement_api", "rpc_api")
RANKS = {package: len(ORDER) - number for number, line in enumerate(ORDER) for package in line}
#: Packages of the core: no clock, no chance, no environment, no configuration, no I/O.
PURE = ("projection", "nova_compat", "nova_objects", "request", "hosts", "fit", "filters", "weighers", "selection")
#: What the core may import of rpc_api: the language and its errors, never what talks to a log, a bus or a clock.
PURE_RPC_API = (
    "rpc_api.accounts",
    "rpc_api.codec",
    "rpc_api.digest",
    "rpc_api.errors",
    "rpc_api.events",
    "rpc_api.levels",
    "rpc_api.objects",
    "rpc_api.packing",
    "rpc_api.proof",
    "rpc_api.wording",
)
#: Modules that bring a clock, chance, the environment, configuration or I/O.
IMPURE_MODULES = {
    "time",
    "datetime",
    "random",
    "secrets",
    "os",
    "io",
    "pathlib",
    "socket",
    "subprocess",
    "threading",
    "queue",
    "logging",
    "oslo_config",
    "oslo_log",
    "oslo_messaging",
    "oslo_service",
    "kombu",
    "sqlite3",
    "redis",
    "requests",
    "tempfile",
    "shutil",
    "asyncio",
    "multiprocessing",
    "eventlet",
}
#: Where time.monotonic and time.sleep may be used: for the timeout of a wait, and to show how long a command took.
WAITS = (
    "nova_sched.playground",
    "nova_sched.process.process",
    "nova_sched.process.service",
    "nova_sched.replay.archive.log",
    "rpc_api.bus",
    "rpc_api.clock",
    "rpc_api.log",
    "rpc_api.waiting",
)
#: What a wait needs of the module time. Everything else there is, or shows, the wall clock.
MONOTONIC = {"monotonic", "sleep"}
WALL_CLOCK = "rpc_api.clock"
#: The engines, which their owner gives the time, with all that they import.
ENGINES = ("nova_sched.scheduler.engine", "conductor.engine")
IMPURE_CALLS = {"open", "input", "print", "id", "hash"}
IMPURE_ATTRIBUTES = {("uuid", "uuid1"), ("uuid", "uuid4"), ("np", "random"), ("numpy", "random"), ("sys", "argv")}


def sources():
    """Module name -> path of each module of the project."""
    found = {}
    for top in TOPS:
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path):
    """(line, dotted name) of every import of a module, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} has a relative import; name the package"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def module_of(name, modules):
    """The module of the project that a dotted name is, or is in; None for what is not the project's."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def package_of(module):
    """The package of ORDER that a module is in; None for what is beside the order, which is only the top package
    itself."""
    while module and module not in RANKS:
        module = module.rpartition(".")[0]
    return module or None


def upward(path, package, modules):
    """Imports of a module of a package that do not go down."""
    for line, name in imports(path):
        module = module_of(name, modules)
        other = None if module is None else package_of(module)
        if other is not None and other != package and RANKS[other] >= RANKS[package]:
            yield f"{path}:{line} imports {module}: {other} is not under {package}"


def circles(graph):
    """Groups of modules of which each imports each other, directly or not (Tarjan's algorithm)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            group = set()
            while module not in group:
                group.add(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for module in graph:
        if module not in index:
            visit(module)
    return found


def hash_of_its_own(tree):
    """The nodes of classes that define __hash__: only there hash() may be called, as dictionaries and sets need it."""
    return {
        node
        for defined in ast.walk(tree)
        if isinstance(defined, ast.ClassDef) and any(getattr(part, "name", None) == "__hash__" for part in defined.body)
        for node in ast.walk(defined)
    }


def impurities(path):
    """What in a module of the core depends on more than its arguments."""
    for line, name in imports(path):
        if name.split(".")[0] in IMPURE_MODULES:
            yield f"{path}:{line} imports {name}"
        if name.startswith("rpc_api.") and not name.startswith(PURE_RPC_API):
            yield f"{path}:{line} imports {name}, which is not of the core"
    tree = ast.parse(path.read_text())
    hashed = hash_of_its_own(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            if node.func.id != "hash" or node not in hashed:
                yield f"{path}:{node.lineno} calls {node.func.id}()"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in IMPURE_ATTRIBUTES
        ):
            yield f"{path}:{node.lineno} uses {node.value.id}.{node.attr}"


def clock_reads(path):
    """(line, what) of every use of a clock of the machine."""
    tree = ast.parse(path.read_text())
    names = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "time"
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in names:
                yield node.lineno, node.attr
            elif node.attr in ("now", "utcnow", "today") and ast.unparse(node.value).split(".")[-1] in (
                "date",
                "datetime",
            ):
                yield node.lineno, f"{ast.unparse(node.value)}.{node.attr}"


def clock_faults(path, name):
    """What a module reads of the machine's clocks and may not."""
    for line, what in clock_reads(path):
        if what not in MONOTONIC and name != WALL_CLOCK:
            yield f"{path}:{line} reads the wall clock ({what}); take a Clock of rpc_api.clock"
        elif what in MONOTONIC and not f"{name}.".startswith(tuple(f"{package}." for package in WAITS)):
            yield f"{path}:{line} uses time.{what}; take a Clock of rpc_api.clock, or name the wait in WAITS"


def engine_modules(modules):
    """The engines and all modules above rpc_api that they import, directly or not."""
    found, waiting = set(), list(ENGINES)
    while waiting:
        name = waiting.pop()
        if name not in found and not name.startswith("rpc_api"):
            found.add(name)
            waiting += filter(None, (module_of(imported, modules) for _, imported in imports(modules[name])))
    return found


def own_clocks(path):
    """Where a module brings a clock instead of being given one."""
    for line, name in imports(path):
        if name.split(".")[0] in ("time", "datetime") or name == "rpc_api.clock.SYSTEM":
            yield f"{path}:{line} imports {name}; the owner of the engine gives it the time"


@pytest.mark.parametrize("package", RANKS)
def test_imports_only_go_down(package):
    modules = sources()
    of_package = [name for name in modules if package_of(name) == package]
    found = [fault for name in of_package for fault in upward(modules[name], package, modules)]
    assert not found, "\n".join(found)
    assert of_package


def test_every_package_has_its_place_in_the_order():
    left = [name for name in sources() if package_of(name) is None and name != "nova_sched"]
    assert not left, f"{left}: name their packages in ORDER"


def test_no_circles_between_files():
    modules = sources()
    graph = {
        name: {other for _, one in imports(path) if (other := module_of(one, modules)) not in (None, name)}
        for name, path in modules.items()
    }
    assert circles(graph) == []


@pytest.mark.parametrize("package", PURE)
def test_the_core_is_pure(package):
    paths = sorted((ROOT / "nova_sched" / package).rglob("*.py"))
    found = [fault for path in paths for fault in impurities(path)]
    assert not found, "\n".join(found)
    assert paths


@pytest.mark.parametrize(
    "source, fault",
    [
        ("import time\n", "imports time"),
        ("import numpy as np\nnp.random.rand()\n", "uses np.random"),
        ("from rpc_api.log import open_log\n", "not of the core"),
        ("from rpc_api import clock\n", "not of the core"),
        ("open('x')\n", "calls open()"),
        ("import uuid\nuuid.uuid4()\n", "uses uuid.uuid4"),
        ("hash('x')\n", "calls hash()"),
        ("class Host:\n    def order(self):\n        return hash(self)\n", "calls hash()"),
    ],
)
def test_the_check_sees_impurity(tmp_path, source, fault):
    path = tmp_path / "core.py"
    path.write_text(source)
    assert any(fault in found for found in impurities(path))


def test_a_class_may_compute_its_own_hash(tmp_path):
    path = tmp_path / "core.py"
    path.write_text("class Reason:\n    def __hash__(self):\n        return hash(self.code)\n")
    assert not list(impurities(path))


@pytest.mark.parametrize(
    "source, package",
    [
        ("from conductor.cell import CellConductor\n", "nova_sched.process"),
        ("from conductor.cell import CellConductor\n", "compute_agent"),
        ("from nova_sched.selection import decide\n", "nova_sched.filters"),
        ("def lazy():\n    from nova_sched.scheduler import engine\n", "conductor"),
    ],
)
def test_the_check_sees_an_upward_import(tmp_path, source, package):
    path = tmp_path / "module.py"
    path.write_text(source)
    modules = sources()
    assert list(upward(path, package, modules))
    assert not list(upward(path, "nova_sched.cli", modules))


def test_the_check_sees_a_circle():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


# --- clocks ----------------------------------------------------------------------------------------------------------


def test_the_wall_clock_is_read_in_one_place_and_waits_are_named():
    modules = sources()
    found = [fault for name, path in modules.items() for fault in clock_faults(path, name)]
    assert not found, "\n".join(found)
    assert {what for _, what in clock_reads(modules[WALL_CLOCK])} == {"monotonic", "time_ns"}


def test_each_named_wait_needs_to_be_named():
    modules = sources()
    for package in WAITS:
        reads = [
            read for name, path in modules.items() if f"{name}.".startswith(f"{package}.") for read in clock_reads(path)
        ]
        assert reads, f"{package} reads no clock; take it out of WAITS"


def test_the_engines_are_given_the_time():
    modules = sources()
    engines = engine_modules(modules)
    found = [fault for name in sorted(engines) for fault in own_clocks(modules[name])]
    assert not found, "\n".join(found)
    assert {"nova_sched.process.log_state", "conductor.monitor", "nova_sched.scheduler.cell_states"} <= engines


@pytest.mark.parametrize(
    "source, name, faults",
    [
        ("import time\ntime.time()\n", "conductor.api", 1),
        ("import time\ntime.time_ns()\n", "rpc_api.log.rabbit", 1),
        ("import time\ntime.monotonic()\n", "conductor.api", 1),
        ("import time\ntime.monotonic()\n", "rpc_api.log.rabbit", 0),
        ("import time\ntime.monotonic()\n", "rpc_api.logs", 1),
        ("import time as machine\nmachine.time_ns()\n", "conductor.api", 1),
        ("def stop(time):\n    time.left()\n", "conductor.api", 0),
        ("from time import time_ns\n", "nova_sched.cli.top", 1),
        ("from datetime import datetime\ndatetime.now()\n", "nova_sched.cli.top", 1),
        ("import datetime\ndatetime.datetime.now()\n", "nova_sched.cli.top", 1),
        ("from datetime import datetime\ndatetime.fromisoformat('2026')\n", "nova_sched.cli.top", 0),
    ],
)
def test_the_check_sees_clocks(tmp_path, source, name, faults):
    path = tmp_path / "module.py"
    path.write_text(source)
    assert len(list(clock_faults(path, name))) == faults


@pytest.mark.parametrize("source", ["import time\n", "from rpc_api.clock import SYSTEM, spelled\n"])
def test_the_check_sees_an_engine_with_a_clock_of_its_own(tmp_path, source):
    path = tmp_path / "engine.py"
    path.write_text(source)
    assert list(own_clocks(path))
