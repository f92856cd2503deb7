"""Sizes: no file and no class is so large that a reader loses the overview. Tests and benchmarks are not measured."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 450
CLASS_LINES_MAX = 300
CLASS_METHODS_MAX = 25
#: What may be larger: "path" of a file, or "path: name" of a class -> the reason. To split is better than a line here.
EXCEPTIONS: dict[str, str] = {}


def measured() -> list[str]:
    """Every Python file of the project that is not a test or a benchmark."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    return sorted(path for path in listed if not path.startswith(("tests/", "bench/")) and (ROOT / path).is_file())


def too_large(path: str, source: str) -> dict[str, str]:
    """What is larger than its limit in a module: its key in EXCEPTIONS -> its size."""
    found = {}
    lines = len(source.splitlines())
    if lines > FILE_LINES_MAX:
        found[path] = f"{lines} lines, at most {FILE_LINES_MAX}"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef):
            continue
        lines = node.end_lineno - node.lineno + 1
        methods = sum(isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) for part in node.body)
        if lines > CLASS_LINES_MAX:
            found[f"{path}: {node.name}"] = f"{lines} lines, at most {CLASS_LINES_MAX}"
        elif methods > CLASS_METHODS_MAX:
            found[f"{path}: {node.name}"] = f"{methods} methods, at most {CLASS_METHODS_MAX}"
    return found


def test_no_file_and_no_class_is_too_large():
    found = {}
    for path in measured():
        found |= too_large(path, (ROOT / path).read_text())
    wrong = [f"{name} has {size}; split it" for name, size in found.items() if name not in EXCEPTIONS]
    assert not wrong, "\n".join(wrong)
    needless = sorted(EXCEPTIONS.keys() - found.keys())
    assert not needless, f"{needless} are within the limits: remove them from EXCEPTIONS"


def test_each_exception_has_its_reason():
    assert all(reason.endswith(".") and len(reason.split()) >= 5 for reason in EXCEPTIONS.values())


@pytest.mark.parametrize(
    "source, expected",
    [
        ("x = 1\n" * FILE_LINES_MAX, {}),
        ("x = 1\n" * (FILE_LINES_MAX + 1), {"m.py": "451 lines, at most 450"}),
        ("class A:\n" + "    x = 1\n" * (CLASS_LINES_MAX - 1), {}),
        ("class A:\n" + "    x = 1\n" * CLASS_LINES_MAX, {"m.py: A": "301 lines, at most 300"}),
        ("class A:\n" + "    def f(self): pass\n" * CLASS_METHODS_MAX, {}),
        (
            "class A:\n" + "    async def f(self): pass\n" * (CLASS_METHODS_MAX + 1),
            {"m.py: A": "26 methods, at most 25"},
        ),
    ],
)
def test_the_measure(source, expected):
    assert too_large("m.py", source) == expected
