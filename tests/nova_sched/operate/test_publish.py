"""Events of operators are read back as counted; one that does not count says why."""

import pytest

from nova_sched.operate.publish import check_level, published
from nova_sched.replay.archive.restore import state_of
from rpc_api import errors, events
from rpc_api.clock import SYSTEM
from rpc_api.levels import LEVEL
from tests.builders import Voice, record_of, report
from tests.nova_sched.replay.logs import Written

OFF, ON = events.HostDisabled("a", "a fan"), events.HostEnabled("a")


@pytest.fixture
def written():
    return Written(events.LevelPinned(LEVEL), report("a"))


def test_several_events_count_and_others_are_folded_on_the_way(written):
    state = state_of("cell1", written.log)
    written.say(report("b"))
    assert published(written.log, state, "ada", OFF, ON, OFF) == written.log.bounds().last == state.position
    assert state.hosts["a"].disabled_for == "a fan" and "b" in state.hosts
    assert published(written.log, state, "ada", ON) == written.log.bounds().last
    assert state.hosts["a"].disabled_for is None


@pytest.mark.parametrize(
    "said, told",
    [
        ((events.HostDisabled("nobody", ""),), "operator/ada changes the host nobody, which does not report here"),
        ((OFF, events.HostDisabled("nobody", "")), "which does not report here"),
    ],
)
def test_an_event_that_is_set_aside_says_why(written, said, told):
    with pytest.raises(errors.NovaSchedError, match=told):
        published(written.log, state_of("cell1", written.log), "ada", *said)


def test_a_log_that_requires_accounts(written):
    """The log in memory has no accounts, so the rule cannot be said there: the state gets it directly."""
    state = state_of("cell1", written.log)
    state.accounts_required = True
    with pytest.raises(
        errors.NovaSchedError, match="operator/ada does not count .*with none; use the account operator"
    ):
        published(written.log, state, "ada", OFF)


@pytest.fixture
def ahead(written):
    """The event of another command of ada, on a machine whose clock is an hour ahead."""
    later = Voice("operator/ada", epoch=SYSTEM.now_ns() + 3600 * 10**9)
    return lambda: written.log.append([record_of(later.say(ON), level=LEVEL)])


def test_a_clock_that_was_ahead_does_not_matter(written, ahead):
    ahead()
    state = state_of("cell1", written.log)
    published(written.log, state, "ada", OFF)
    assert state.hosts["a"].disabled_for == "a fan"


def test_another_command_of_the_same_name_at_the_same_time(written, ahead):
    state = state_of("cell1", written.log)
    ahead()
    with pytest.raises(errors.NovaSchedError, match="another command publishes under that name at the same time"):
        published(written.log, state, "ada", OFF)


def test_an_event_that_is_not_read_back(written, monkeypatch):
    state = state_of("cell1", written.log)
    monkeypatch.setattr(type(written.log), "append", lambda log, records: None)
    with pytest.raises(errors.LogUnavailable, match="were not read back"):
        published(written.log, state, "ada", OFF)


def test_levels():
    check_level(state_of("cell1", Written(events.LevelPinned(3)).log), "it")
    with pytest.raises(errors.UsageError, match="is at level 2, it needs level 3; run nova-sched pin first"):
        check_level(state_of("cell1", Written(events.LevelPinned(2)).log), "it")
    with pytest.raises(errors.UnknownSchema):
        check_level(state_of("cell1", Written(events.LevelPinned(99)).log), "it")
