"""Whether a conductor and an agent are ready."""

import re
from pathlib import Path

import pytest

from conductor.shown import followed_by, samples_of_cell, why_cell_not_ready
from conductor.tap.decode import UNREAD_CODES
from rpc_api import errors
from rpc_api.bus import LocalBus
from tests.conductor.cells import Cell

TAP = Path(__file__).resolve().parents[2] / "conductor" / "tap"


@pytest.fixture
def cell():
    with Cell(LocalBus()) as cell:
        yield cell


def test_a_conductor_whose_log_is_away(cell):
    assert why_cell_not_ready(cell.conductor) == []
    cell.conductor._on_fault(errors.LogUnavailable("the broker is away"))
    assert why_cell_not_ready(cell.conductor) == ["the broker is away"]
    assert followed_by(cell.conductor).why_unreadable == "the broker is away"
    cell.conductor._on_fault(None)
    assert why_cell_not_ready(cell.conductor) == [] and followed_by(cell.conductor).why_unreadable is None


def test_a_conductor_that_reads_its_log_again(cell):
    cell.conductor.engine.log_state.expect()
    assert why_cell_not_ready(cell.conductor) == ["the log of cell1 is being read"]
    assert followed_by(cell.conductor).why_unreadable is None


def test_an_agent_without_conductors(cell):
    assert cell.agent.why_not_ready() == []
    cell.agent._watch.silent_since = 1.0
    assert cell.agent.why_not_ready() == ["no conductor of cell1 answers"]
    shown = {sample.family: sample.value for sample in cell.agent.samples()}
    assert (shown["nova_sched_agent_hosts"], shown["nova_sched_agent_conductors_answer"]) == (3, 0)


def test_a_conductor_without_a_tap_shows_none(cell):
    assert {sample.family for sample in samples_of_cell(cell.conductor)} == {"nova_sched_conductor_builds_in_flight"}


def test_the_codes_of_the_tap_are_those_of_its_sources():
    calls = re.compile(r'Unread\(\s*"([a-z-]+)"')
    assert {code for path in TAP.glob("*.py") for code in calls.findall(path.read_text())} == set(UNREAD_CODES)
