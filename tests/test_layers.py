"""The layers: imports only go down, and the core is pure. A new import that goes up turns this red."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: Package -> what it may import of the project's own packages, beside itself.
ALLOWED = {
    "rpc_api": set(),
    "nova_sched": {"rpc_api"},
    "conductor": {"nova_sched", "rpc_api"},
    "compute_agent": {"nova_sched", "rpc_api"},
    "cloud": {"conductor", "compute_agent", "nova_sched", "rpc_api"},
}
CORE = ("projection", "filters", "weighers", "selection")
#: The core imports of the project only itself and the language; never what talks to a log, a bus or a clock.
CORE_MAY_IMPORT = (
    "nova_sched.projection",
    "nova_sched.filters",
    "nova_sched.weighers",
    "nova_sched.selection",
    "rpc_api.accounts",
    "rpc_api.codec",
    "rpc_api.digest",
    "rpc_api.errors",
    "rpc_api.events",
    "rpc_api.objects.image_meta",
    "rpc_api.packing",
    "rpc_api.proof",
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
IMPURE_CALLS = {"open", "input", "print", "id", "hash"}
IMPURE_ATTRIBUTES = {("uuid", "uuid1"), ("uuid", "uuid4"), ("np", "random"), ("numpy", "random"), ("sys", "argv")}


def modules(package):
    return sorted((ROOT / package).rglob("*.py"))


def imports(path):
    """(line, dotted name) of every import of a module, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} has a relative import; name the package"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def upward(path, package):
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for line, name in imports(path)
        if name.split(".")[0] in ALLOWED and name.split(".")[0] not in ALLOWED[package] | {package}
    ]


def impurities(path):
    tree = ast.parse(path.read_text())
    for line, name in imports(path):
        if name.split(".")[0] in IMPURE_MODULES:
            yield f"{path.relative_to(ROOT)}:{line} imports {name}"
        if (
            name.split(".")[0] in ALLOWED
            and not name.startswith(CORE_MAY_IMPORT)
            and name not in ("nova_sched.filters", "nova_sched.weighers", "rpc_api.errors", "rpc_api.events")
        ):
            yield f"{path.relative_to(ROOT)}:{line} imports {name}, which is not of the core"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield f"{path.relative_to(ROOT)}:{node.lineno} calls {node.func.id}()"
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in IMPURE_ATTRIBUTES
        ):
            yield f"{path.relative_to(ROOT)}:{node.lineno} uses {node.value.id}.{node.attr}"


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_only_go_down(package):
    found = [fault for path in modules(package) for fault in upward(path, package)]
    assert not found, "\n".join(found)
    assert modules(package)


@pytest.mark.parametrize("package", CORE)
def test_the_core_is_pure(package):
    found = [fault for path in modules(f"nova_sched/{package}") for fault in impurities(path)]
    assert not found, "\n".join(found)
    assert modules(f"nova_sched/{package}")


@pytest.mark.parametrize(
    "source, fault",
    [
        ("import time\n", "imports time"),
        ("import numpy as np\nnp.random.rand()\n", "uses np.random"),
        ("from nova_sched.service import engine\n", "not of the core"),
        ("open('x')\n", "calls open()"),
        ("import uuid\nuuid.uuid4()\n", "uses uuid.uuid4"),
    ],
)
def test_the_check_sees_impurity(tmp_path, monkeypatch, source, fault):
    monkeypatch.setattr("tests.test_layers.ROOT", tmp_path)
    path = tmp_path / "core.py"
    path.write_text(source)
    assert any(fault in found for found in impurities(path))


def test_the_check_sees_an_upward_import(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.test_layers.ROOT", tmp_path)
    path = tmp_path / "module.py"
    path.write_text("from conductor.cell import CellConductor\n")
    assert upward(path, "nova_sched") and not upward(path, "cloud")
