"""Run some of Nova's functional tests in this process, by the peer's own Python.

    run.py stock|nova_sched RESULTS NAME...

A name is that of a package, a module, a class or a test below ``nova.tests.functional``. For each test a line is
appended to RESULTS: its name, its result, its seconds and the text of its failure, as a JSON list. With ``stock`` our
services are not started.
"""

import importlib
import json
import os
import pathlib
import pkgutil
import sys
import tempfile
import time
import traceback
import unittest
import warnings

PACKAGE = "nova.tests.functional"
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
#: Characters of the text of a failure that are kept.
KEPT = 100_000


def main(services, results, *names):
    # Native threads, as Nova's own services have them.
    os.environ["OS_NOVA_DISABLE_EVENTLET_PATCHING"] = "1"
    importlib.import_module(PACKAGE)
    sys.path.insert(0, str(pathlib.Path(__file__).parents[3]))
    with tempfile.TemporaryDirectory(prefix="nova-functional-") as state:
        _keep_state_in(state)
        _allow_deprecations()
        _module("patience").install()
        if services == "nova_sched":
            _module("harness").install()
        with open(results, "a", buffering=1) as file:
            suite = unittest.TestSuite(tests_of(name) for name in names)
            suite.run(Results(file))
    # Threads that a failed test has left must not keep the process.
    os._exit(0)


def _module(name):
    return importlib.import_module(f"tests.against_nova.functional.{name}")


def _keep_state_in(folder):
    """Nova looks for its configuration in the folder of its state, which is by default the one of its source."""
    from nova.conf import paths

    os.symlink(pathlib.Path(sys.prefix) / "etc", pathlib.Path(folder) / "etc")
    next(option for option in paths.ALL_OPTS if option.name == "state_path").default = folder


def _allow_deprecations():
    """Nova's tests make errors of deprecations in SQLAlchemy, which may be newer here than Nova's constraints allow."""
    from nova.tests import fixtures
    from sqlalchemy import exc

    set_up = fixtures.WarningsFixture.setUp

    def set_up_and_allow(fixture):
        set_up(fixture)
        warnings.simplefilter("ignore", exc.SADeprecationWarning)

    fixtures.WarningsFixture.setUp = set_up_and_allow


def tests_of(name):
    """All tests of a name."""
    loader = unittest.TestLoader()
    full = f"{PACKAGE}.{name}"
    try:
        package = importlib.import_module(full)
    except ImportError:
        return loader.loadTestsFromName(full)
    if not hasattr(package, "__path__"):
        return loader.loadTestsFromName(full)
    return unittest.TestSuite(tests_of(f"{name}.{found.name}") for found in pkgutil.iter_modules(package.__path__))


class Results(unittest.TestResult):
    """Writes the result of each test to a file."""

    def __init__(self, file):
        super().__init__()
        self._file = file
        self._began = self._found = self._text = None

    def startTest(self, test):
        super().startTest(test)
        self._began, self._found, self._text = time.monotonic(), PASSED, ""

    def stopTest(self, test):
        super().stopTest(test)
        name = test.id().removeprefix(f"{PACKAGE}.")
        seconds = round(time.monotonic() - self._began, 2)
        self._file.write(json.dumps([name, self._found, seconds, self._text]) + "\n")

    def addError(self, test, error):
        self._fail("".join(traceback.format_exception(*error)))

    addFailure = addError

    def addSkip(self, test, reason):
        self._found, self._text = SKIPPED, reason

    def addUnexpectedSuccess(self, test):
        self._fail("passes, but it is marked as one that fails")

    def _fail(self, text):
        self._found = FAILED
        self._text = (self._text + text)[-KEPT:]


if __name__ == "__main__":
    main(*sys.argv[1:])
