"""The table of a claim's life: it is complete, what it says is done, and no sequence of events breaks it."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nova_sched.projection.beginning import Beginning
from nova_sched.projection.in_flight import InFlight
from nova_sched.projection.table import HostTable
from nova_sched.scheduler.claim_actions import ACTIONS
from nova_sched.scheduler.claim_life import (
    ANSWERED,
    ENDS,
    HELD_FOR_REQUEST,
    IMPOSSIBLE,
    IN_DOUBT,
    KEPT,
    START,
    TRANSITIONS,
    UNDER_WAY,
    WAITED_FOR,
    Action,
    Event,
    ImpossibleEvent,
    State,
    step,
)
from nova_sched.scheduler.claims import Claims
from rpc_api import errors, events
from tests.builders import of, server_group, started, uuid_of
from tests.engines import TinyCloud

PAIRS = [(state, event) for state in State for event in Event]
#: They do something for the instance that waits for the claim.
OF_INSTANCES = {
    Action.ANSWER,
    Action.DECIDE,
    Action.DECIDE_AFTER_REFUSAL,
    Action.DECIDE_AFTER_LOSS,
    Action.RELEASE_AND_DECIDE_ELSEWHERE,
    Action.DECIDE_AND_RELEASE_AFTER_REBASE,
}
#: They look at the outcome in the log.
OF_OUTCOMES = {Action.ANSWER, Action.DECIDE_AFTER_REFUSAL, Action.REPORT}
READ_BACK = {Event.ACCEPTED, Event.REFUSED, Event.BREAKS_GROUP}


def name_of(pair):
    return "-".join(each.name for each in pair)


def impossible():
    """(state, event) of each pair that is listed as impossible, with repetitions."""
    return [(state, event) for each in IMPOSSIBLE for state in each.states for event in each.events]


def test_each_pair_has_a_cell_or_a_reason_why_it_cannot_happen():
    found = Counter([*TRANSITIONS, *impossible()])
    assert {name_of(pair): found[pair] for pair in PAIRS if found[pair] != 1} == {}
    assert found.keys() == set(PAIRS)
    assert all(each.reason for each in IMPOSSIBLE)


def test_each_state_is_reached_and_each_event_and_action_occurs():
    reached, grows = {START}, True
    while grows:
        further = {step.state for (state, _), step in TRANSITIONS.items() if state in reached} - reached
        reached, grows = reached | further, bool(further)
    assert reached == set(State)
    assert {event for _, event in TRANSITIONS} == set(Event)
    assert {step.action for step in TRANSITIONS.values()} == set(Action)


def test_a_claim_that_has_ended_stays_so_and_every_other_can_end():
    assert not [pair for pair in TRANSITIONS if pair[0] in ENDS]
    for start in set(State) - set(ENDS):
        assert any(state is start and step.state is not start for (state, _), step in TRANSITIONS.items())


def test_each_action_is_done_by_the_engine():
    assert ACTIONS.keys() == set(Action)
    assert len(set(ACTIONS.values())) == len(ACTIONS)


def test_the_groups_of_states_fit_together():
    assert {*UNDER_WAY, *KEPT, *ENDS} == set(State) and len(UNDER_WAY) + len(KEPT) + len(ENDS) == len(State)
    assert set(IN_DOUBT) < set(KEPT) and set(HELD_FOR_REQUEST) < set(WAITED_FOR)
    assert not set(WAITED_FOR) & set(ENDS)


@pytest.mark.parametrize("pair", TRANSITIONS, ids=name_of)
def test_an_action_has_what_it_needs(pair):
    state, event = pair
    action = TRANSITIONS[pair].action
    assert action not in OF_INSTANCES or state in WAITED_FOR
    assert action not in OF_OUTCOMES or event in READ_BACK


@pytest.mark.parametrize("state", [state for state in State if state not in ENDS], ids=lambda state: state.name)
def test_what_the_log_accepts_is_used_or_released(state):
    """Otherwise it would hold its host until it expires."""
    after, action = step(state, Event.ACCEPTED)
    assert after in KEPT or (after is State.RELEASED and action in (Action.RELEASE, Action.GIVE_UP))


@pytest.mark.parametrize("pair", TRANSITIONS, ids=name_of)
def test_an_instance_is_never_left_alone(pair):
    """An instance that waits goes on waiting, is decided again, or its request is over."""
    state, event = pair
    after, action = TRANSITIONS[pair]
    if state in WAITED_FOR and after not in WAITED_FOR and event not in (Event.REQUEST_FAILED, Event.REQUEST_ANSWERED):
        assert action in OF_INSTANCES


@pytest.mark.parametrize("state", ANSWERED, ids=lambda state: state.name)
def test_a_claim_whose_answer_is_not_delivered_is_released(state):
    assert step(state, Event.NOT_DELIVERED) == (State.RELEASED, Action.RELEASE_UNDELIVERED)


def test_the_claims_of_a_caller_that_is_gone_are_released_unless_they_were_started():
    cloud = TinyCloud()
    cloud.host("a", vcpus=8)
    engine = cloud.engine("one")
    ask = cloud.ask(engine, "one", "two", "three", vcpus=2)
    cloud.settle()
    claims = [(chosen[0].cell, chosen[0].claim_uuid) for chosen in ask.future.result(0)]
    cloud.append("cell1", "compute_agent/a", started("one", "a", of("a", 2)))
    engine.on_not_delivered(claims)
    engine.on_not_delivered(claims)
    cloud.settle()
    consumers = engine.world.projections["cell1"].consumers
    assert set(consumers) == {uuid_of("one")} and engine.counts["answers_not_delivered"] == 2
    released = cloud.events("cell1", "ClaimReleased")
    assert [one.claim_uuid for one in released] == [claim_uuid for _, claim_uuid in claims]
    assert {one.reason for one in released} == {"its caller is gone"}
    assert not engine.claims.kept("cell1")


# --- claims as they are kept ---------------------------------------------------------------------------------------


class Waiting:
    """What a claim is made for."""

    claim = None


def claims_of(strict=False, kept_max=3):
    table = HostTable()
    return Claims(("cell1",), InFlight(table), Counter(), strict, kept_max)


def proposed(number):
    consumer = uuid_of(f"instance {number}")
    return events.ClaimProposed(
        uuid_of(f"claim {number}"), consumer, consumer, "req", "project", "a", (), None, False, None
    )


def test_an_impossible_event_is_an_error_in_tests():
    claims, waiting = claims_of(strict=True), Waiting()
    claim = claims.propose("cell1", proposed(1), (1, 1), waiting)
    with pytest.raises(ImpossibleEvent, match="a claim in the state PROPOSED met the event FOUND"):
        claims.event(claim, Event.FOUND)
    assert claim.state is State.PROPOSED and waiting.claim is claim


def test_an_impossible_event_is_counted_and_logged_in_production(caplog):
    claims, waiting = claims_of(), Waiting()
    claim = claims.propose("cell1", proposed(1), (1, 1), waiting)
    assert claims.event(claim, Event.FOUND) is Action.NOTHING
    assert claim.state is State.PROPOSED and waiting.claim is claim
    assert claims._counts["claim_faults"] == 1
    assert f"the claim is {claim.uuid} in cell1" in caplog.text


def test_the_engine_reports_impossible_events_in_production():
    cloud = TinyCloud()
    cloud.host("a")
    engine = cloud.engine("one")
    engine.claims._strict = False
    ask = cloud.ask(engine, "vm")
    engine.claim_driver.happened(ask.instances[0].claim, Event.FOUND)
    cloud.settle()
    assert ask.future.result(0)[0][0].host == "a" and engine.counts["claim_faults"] == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([None, *Event])), max_size=60), st.integers(0, 5))
def test_any_sequence_of_events_leaves_the_claims_consistent(happens, kept_max):
    claims = claims_of(kept_max=kept_max)
    made, faults = {}, 0
    for number, event in happens:
        if number not in made:
            waiting = Waiting()
            made[number] = claims.propose("cell1", proposed(number), (1, number), waiting), waiting
            continue
        claim, waiting = made[number]
        if event is None or event in READ_BACK:
            claims.read_back("cell1", claim.uuid)
        if event is None:
            continue
        before = claim.state
        action = claims.event(claim, event)
        if (before, event) in TRANSITIONS:
            assert (claim.state, action) == TRANSITIONS[before, event]
        else:
            faults += 1
            assert (claim.state, action) == (before, Action.NOTHING)
        assert (claim.instance is waiting) == (claim.state in WAITED_FOR)
        assert waiting.claim is (claim if claim.state in WAITED_FOR else None)
        kept = claims.kept("cell1")
        assert len(kept) <= kept_max and all(each.state in KEPT for each in kept)
        assert set(claims.in_doubt("cell1")) == {each for each in kept if each.state in IN_DOUBT}
    assert claims._counts["claim_faults"] == faults


# --- an engine that meets everything -------------------------------------------------------------------------------

CELLS = ("cell1", "cell2")
STEPS = st.one_of(
    st.tuples(st.just("ask"), st.integers(1, 3), st.sampled_from([None, "affinity", "anti-affinity"])),
    st.tuples(st.just("read"), st.sampled_from(["cell0", *CELLS]), st.integers(1, 3)),
    st.tuples(st.just("settle")),
    st.tuples(st.just("rebase"), st.sampled_from(CELLS)),
    st.tuples(st.just("recreate"), st.sampled_from(CELLS)),
    st.tuples(st.just("read again"), st.sampled_from(CELLS)),
    st.tuples(
        st.just("lose tail"), st.sampled_from(CELLS), st.integers(1, 4), st.sampled_from(["", "before", "after"])
    ),
    st.tuples(st.just("down"), st.sampled_from(CELLS)),
    st.tuples(st.just("up"), st.sampled_from(CELLS)),
    st.tuples(st.just("report"), st.sampled_from(CELLS)),
    st.tuples(st.just("give up"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 6.0, 40.0])),
)


class Busy:
    """A cloud whose only scheduler meets what a test draws. Its claims are strict: an impossible event is raised."""

    def __init__(self):
        self.cloud = TinyCloud(CELLS)
        self.report("cell1")
        self.report("cell2")
        self.engine = self.cloud.engine("one")
        self.asks = []

    def report(self, cell):
        for number in range(2):
            self.cloud.host(f"{cell}-{number}", cell, vcpus=4)

    def begin(self, cell, begun_anew=False, kept=None):
        log = self.cloud.logs[cell]
        self.cloud._read["one", cell] = 0
        self.engine.on_begin(cell, Beginning(None, 0, len(log) - 1, True, begun_anew, kept))
        self.engine.on_fault(cell, None)

    def do(self, kind, *details):
        getattr(self, kind.replace(" ", "_"))(*details)

    def ask(self, instances, policy):
        number = len(self.asks)
        group = policy and server_group(policy, name=f"group {policy} {number % 2}")
        names = [f"vm {number} {each}" for each in range(instances)]
        self.asks.append(self.cloud.ask(self.engine, *names, vcpus=1, group=group, alternates=2))

    def read(self, cell, records):
        self.cloud.deliver("one", cell, records)

    def settle(self):
        self.cloud.settle()

    def rebase(self, cell):
        self.cloud.append(cell, "conductor/c", events.LogRebased(cell, 0))

    def recreate(self, cell):
        self.cloud.logs[cell] = []
        self.begin(cell, begun_anew=True)

    def read_again(self, cell):
        self.begin(cell)

    def lose_tail(self, cell, records, appended_again):
        """The last records are gone, some of which were read. Their producers may append them again, before or after
        the scheduler starts reading again."""
        log = self.cloud.logs[cell]
        tail, kept = log[max(0, len(log) - records) :], max(0, len(log) - records)
        del log[kept:]
        if appended_again == "before":
            log += tail
        if self.cloud._read["one", cell] > kept:
            self.begin(cell, kept=kept - 1)
        if appended_again == "after":
            log += tail

    def down(self, cell):
        self.engine.on_fault(cell, errors.LogUnavailable("gone"))

    def up(self, cell):
        self.engine.on_fault(cell, None)

    def give_up(self, number):
        """The caller of a request that was answered is gone; the same may be reported twice."""
        answered = [ask.future for ask in self.asks if ask.future.done() and ask.future.exception() is None]
        for future in answered[number : number + 1]:
            self.engine.on_not_delivered([(chosen[0].cell, chosen[0].claim_uuid) for chosen in future.result()])

    def wait(self, seconds):
        self.cloud.clock.seconds += seconds
        self.engine.on_tick()


@settings(max_examples=50, deadline=None)
@given(st.lists(STEPS, min_size=12, max_size=60))
def test_whatever_happens_no_event_is_impossible_and_everything_ends(steps):
    busy = Busy()
    for each in steps:
        busy.do(*each)
    for cell in CELLS:
        busy.up(cell)
        busy.report(cell)
    for _ in range(6):
        busy.cloud.settle()
        busy.wait(20.0)
    busy.cloud.settle()
    engine = busy.engine
    assert all(ask.future.done() for ask in busy.asks) and not engine.open_asks()
    assert engine.counts["faults"] == engine.counts["claim_faults"] == 0
    assert not engine.world.in_flight.claims and not engine.world.table.held.any()
    assert not any(map(engine.claims.under_way_count, CELLS))
    for cell in CELLS:
        assert all(claim.state in KEPT and claim.instance is None for claim in engine.claims.kept(cell))
