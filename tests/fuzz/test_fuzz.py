"""Hostile inputs for everything that reads; and the proof that the fuzzers can find: planted bugs are each found."""

import os
import re
import subprocess
import sys
import time

import pytest

from nova_sched.process.web.server import Parser
from nova_sched.projection import fold, snapshot
from nova_sched.scheduler.claim_driver import ClaimDriver
from nova_sched.scheduler.engine import Engine
from placement_api.handlers import inventories
from placement_api.request import Request
from rpc_api import codec, events
from rpc_api.events import primitive
from tests.fuzz import harness
from tests.fuzz.engines import Engines, Tools
from tests.fuzz.harness import Found, run
from tests.fuzz.requests import Requests
from tests.fuzz.tap import Tapped
from tests.fuzz.targets import Fold, Opening, Rpc, Snapshots, Thaw

#: Target -> inputs in ``make test`` and in ``make test-long``.
INPUTS = {
    Fold: (9000, 700_000),
    Thaw: (3000, 100_000),
    Rpc: (3000, 100_000),
    Opening: (2000, 50_000),
    Snapshots: (2000, 60_000),
    Engines: (2000, 60_000),
    Tools: (1000, 30_000),
    Tapped: (3000, 100_000),
    # What anybody can send who reaches the Placement API: a million of these alone.
    Requests: (4000, 1_000_000),
}


@pytest.fixture
def seed():
    """Another one each day, or the one that a finding named: FUZZ_SEED=N."""
    return int(os.environ.get("FUZZ_SEED") or time.time() // 86_400 * 1_000_000)


@pytest.mark.parametrize("target", INPUTS, ids=lambda target: target.__name__)
def test_hostile_inputs(target, seed):
    report = run(target, INPUTS[target][0], seed)
    print(target.__name__, report)
    assert report.inputs == INPUTS[target][0]


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", INPUTS, ids=lambda target: target.__name__)
def test_a_million_hostile_inputs(target, seed, capsys):
    report = run(target, INPUTS[target][1], seed)
    with capsys.disabled():
        print(f"\n{target.__name__}: {report}")
    assert report.inputs == INPUTS[target][1]


def test_the_long_run_has_a_million_inputs():
    assert sum(long for target, (_, long) in INPUTS.items() if target is not Requests) >= 1_000_000


# --- guided by coverage --------------------------------------------------------------------------------------------


def _guided(directory, *options, planted=""):
    """Run :mod:`tests.fuzz.coverage` in a process of its own; its output."""
    pytest.importorskip("atheris", reason="atheris is not installed (no wheel for this Python?): pip install '.[fuzz]'")
    code = f"import sys\nfrom tests.fuzz import coverage\n{planted}\ncoverage.main(sys.argv[1:])"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, f"-artifact_prefix={directory}/", *options],
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stderr + ended.stdout


def test_inputs_guided_by_coverage(tmp_path):
    code, said = _guided(tmp_path, "-runs=2000", "-seed=1")
    assert code == 0 and "Done 2000 runs" in said, said[-3000:]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_inputs_guided_by_coverage(tmp_path, capsys):
    code, said = _guided(tmp_path, "-runs=200000")
    assert code == 0, said[-3000:]
    with capsys.disabled():
        print("\n" + "\n".join(line for line in said.splitlines() if line.startswith(("Done", "stat::", "INFO: Seed"))))


def test_a_planted_bug_is_found_by_coverage(tmp_path):
    code, said = _guided(
        tmp_path,
        "-runs=20000",
        "-seed=1",
        planted=("from nova_sched.projection import fold\nfold.HANDLERS['HostLost'] = lambda *arguments: 1 // 0"),
    )
    assert code != 0 and "ZeroDivisionError" in said, said[-3000:]


# --- planted bugs --------------------------------------------------------------------------------------------------


def plant_a_type_without_a_handler(patch):
    patch.delitem(fold.HANDLERS, "GroupFenced")


def plant_a_change_before_the_check(patch):
    """A report that is refused has been believed already."""
    reported = fold.HANDLERS["HostReported"]

    def hasty(projection, position, event, noted):
        host = projection.hosts.get(event.data.host)
        if host is not None:
            host.server = "hasty"
        return reported(projection, position, event, noted)

    patch.setitem(fold.HANDLERS, "HostReported", hasty)


def plant_a_check_that_is_forgotten(patch):
    """Inventories with a step of 0, negative parents and doubled providers are written."""
    patch.setattr("nova_sched.projection.inventory._tree_fault", lambda *arguments: None)


def plant_an_error_of_another_kind(patch):
    patch.setattr(codec, "check_version", lambda cls, version, newest: float(version))


def plant_damage_that_is_not_seen(patch):
    patch.setattr(snapshot, "state_digest", lambda projection: snapshot_digest(projection))
    patch.setattr(snapshot, "_checksum", lambda head, state: "the same")

    def snapshot_digest(projection):
        return Same()


class Same(str):
    """A digest that equals every other."""

    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    __hash__ = str.__hash__


def plant_a_name_that_is_no_text(patch):
    patch.setattr(primitive, "from_primitive", lambda value: primitive.TABLE[value[primitive.NAME]])
    patch.setattr("rpc_api.serializer.from_primitive", primitive.from_primitive)


def plant_a_request_that_nobody_answers(patch):
    patch.setattr(ClaimDriver, "look_for_passed", lambda self, cell: None)
    patch.setattr(Engine, "on_tick", lambda self: None)


def plant_a_query_that_is_not_decoded(patch):
    patch.delattr(Request, "GET")


def plant_a_length_that_is_not_read(patch):
    patch.delattr(Parser, "parse_header")


def plant_a_write_before_the_check(patch):
    """The aggregates of a provider are gone before its generation is compared."""
    check = inventories.check_generation

    def hasty(request, provider, generation):
        request.region.write(events.AggregatesPut(provider.uuid, None, (), "req-hasty", "user"))
        return check(request, provider, generation)

    patch.setattr(inventories, "check_generation", hasty)


def plant_a_leak(patch):
    kept, decode = [], codec.decode_record
    patch.setattr(codec, "decode_record", lambda payload: kept.append(bytearray(1 << 16)) or decode(payload))


def plant_an_input_that_takes_long(patch):
    patch.setattr(harness, "INPUT_SECONDS_MAX", 1e-9)


PLANTED = {
    plant_a_type_without_a_handler: (Fold, "KeyError"),
    plant_a_change_before_the_check: (Fold, "left a trace"),
    plant_a_check_that_is_forgotten: (Fold, "Error"),
    plant_an_error_of_another_kind: (Fold, "could not convert"),
    plant_damage_that_is_not_seen: (Snapshots, "another state|Error"),
    plant_a_name_that_is_no_text: (Rpc, "KeyError|TypeError"),
    plant_a_request_that_nobody_answers: (Engines, "without an answer"),
    plant_a_query_that_is_not_decoded: (Requests, "UnicodeDecodeError"),
    plant_a_length_that_is_not_read: (Requests, "ValueError"),
    plant_a_write_before_the_check: (Requests, "refused request has changed"),
    plant_a_leak: (Fold, "memory grew"),
    plant_an_input_that_takes_long: (Thaw, "wanted at most"),
}
#: Bugs that few inputs meet.
SELDOM_MET = (plant_a_check_that_is_forgotten, plant_a_length_that_is_not_read)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(plant, monkeypatch):
    target, told = PLANTED[plant]
    plant(monkeypatch)
    with pytest.raises(Found) as found:
        run(target, 40_000 if plant in SELDOM_MET else 8000, 1)
    assert re.search(told, str(found.value)) and re.search(r"seed \d+", str(found.value))
