"""Placement's own API tests, run by the peer's own Python beneath :mod:`tests.against_nova.peer_loop`.

The argument says which application answers: ``placement`` (the real one) or ``nova_sched`` (ours). The tests are the
files that the installed package of Placement has. With ``placement`` nothing of this project is imported.
"""

import pathlib
import sys
import traceback
import unittest
import uuid

from gabbi import handlers, suitemaker, utils
from oslotest import output
from placement.tests.functional import test_api
from placement.tests.functional.fixtures import capture
from placement.tests.functional.fixtures import gabbits as placement_fixtures

FOLDER = pathlib.Path(test_api.__file__).parent / test_api.TESTS_DIR
#: Characters of the text of a failure that are shown.
SHOWN = 2000

if sys.argv[1] == "nova_sched":
    sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
    from tests.against_nova import gabbi_app

    gabbi_app.install()


class _Results(unittest.TestResult):
    """[name, text of the failure or None if it passed] of each test; two tests of a file may have one name."""

    def __init__(self):
        super().__init__()
        self.found = {}

    def startTest(self, test):
        super().startTest(test)
        self.found[id(test)] = [test.test_data["name"], None]

    def addError(self, test, error):
        super().addError(test, error)
        self._fail(test, "".join(traceback.format_exception(*error)))

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._fail(test, str(error[1]))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._fail(test, f"skipped: {reason}")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._fail(test, "passes, but its file says that it fails")

    def _fail(self, test, text):
        # After a fixture that fails no test starts, and the first one has the error.
        found = self.found.setdefault(id(test), [test.test_data["name"], None])
        found[1] = found[1] or text[-SHOWN:]


def files():
    """The names of all files of tests, without their suffix."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def run(name):
    """Run the tests of a file. Returns [test, text of its failure or None] of each test."""
    suite = suitemaker.test_suite_from_dict(
        unittest.TestLoader(),
        name,
        utils.load_yaml(yaml_file=str(FOLDER / f"{name}.yaml")),
        str(FOLDER),
        str(uuid.uuid4()),
        8001,
        placement_fixtures,
        placement_fixtures.setup_app,
        handlers=[handler() for handler in handlers.RESPONSE_HANDLERS],
        test_loader_name=__name__,
        inner_fixtures=[output.CaptureOutput, capture.Logging],
    )
    results = _Results()
    suite.run(results)
    return list(results.found.values())


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (files, run)
