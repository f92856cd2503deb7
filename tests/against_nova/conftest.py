"""The peers: the real nova and Placement, in processes of a Python of their own.

``NOVA_SCHED_PEER_PYTHON`` names an interpreter that can import nova and placement (``make nova-setup`` makes one, and
``make test`` names it); without one these tests are skipped by name, and fail in CI.
"""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import pytest

HERE = pathlib.Path(__file__).parent
PEER_PYTHON = "NOVA_SCHED_PEER_PYTHON"


class Peer:
    """A process in which a script answers questions (:mod:`tests.against_nova.peer_loop`)."""

    def __init__(self, python, script, *arguments, env=None):
        self._asking = threading.Lock()
        command = [python, "-W", "ignore", HERE / "peer_loop.py", script, *arguments]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(env or {})},
        )

    def ask(self, name, *arguments):
        """The answer as a dictionary: ``answer``, or ``error`` and ``message`` where the peer raised."""
        return self.ask_all([(name, *arguments)])[0]

    def ask_all(self, questions):
        """Answers of many questions. Several threads may ask."""
        answers = []
        with self._asking:
            for name, *arguments in questions:
                self._process.stdin.write(json.dumps([name, arguments]) + "\n")
                self._process.stdin.flush()
                answers.append(json.loads(self._process.stdout.readline()))
        return answers

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


def peer_python(module):
    """The interpreter, which can import ``module``; where there is none the test is skipped, and fails in CI."""
    python = os.environ.get(PEER_PYTHON)
    if (
        python
        and shutil.which(python)
        and not subprocess.run(
            [python, "-W", "ignore", "-c", f"import {module}"], capture_output=True, check=False
        ).returncode
    ):
        return python
    missing = f"{PEER_PYTHON} is {python!r}, not an interpreter that can import {module}; make nova-setup makes one"
    if os.environ.get("CI"):
        pytest.fail(missing, pytrace=False)
    pytest.skip(missing)


def running_peer(module, script, *arguments, env=None):
    """A peer of a script of this folder, for as long as a fixture lasts; ``env`` is added to its environment."""
    peer = Peer(peer_python(module), HERE / script, *arguments, env=env)
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def nova_chain():
    """The real nova, with whole worlds to filter and weigh."""
    yield from running_peer("nova", "nova_chain.py")


@pytest.fixture(scope="session")
def placement():
    """The real Placement, over a database in memory."""
    yield from running_peer("placement", "placement_peer.py")
