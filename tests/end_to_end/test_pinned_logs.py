"""Services over logs that are pinned while they run, or were pinned before: to levels that they know, and to others."""

import logging

import pytest

from nova_sched.process.cell_log import fitting
from nova_sched.process.snapshot_store import FileStore
from nova_sched.projection import snapshot
from nova_sched.projection.projection import Projection
from rpc_api import codec, errors, events
from rpc_api.bus import LocalBus
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.nova_exception import NovaException
from tests.builders import EPOCH, Voice, record_of, report, request_spec, uuid_of
from tests.conductor.cells import SECONDS_MAX, Cell
from tests.nova_sched.scheduler.answering import World
from tests.servers import wait_until

PIN, TOO_HIGH = events.LevelPinned(LEVEL), events.LevelPinned(LEVEL + 1)
#: Pins that follow each other, up to the newest level.
WAYS = {"at once": (PIN,), "level by level": tuple(map(events.LevelPinned, range(2, LEVEL + 1)))}
UNKNOWN = f"is pinned to level {LEVEL + 1}, this version knows 1 to {LEVEL}; upgrade nova_sched here"


def asked(name):
    return request_spec(uuid_of(name), disk_gb=0)


def host_of(answer):
    return answer[0][0].service_host


def folded(world, cell):
    """Wait until the scheduler has folded what the log of a cell holds now."""
    last = open_log(world.url(cell)).bounds().last
    wait_until(
        lambda: world.scheduler.call(lambda engine: engine.world.projections[cell].position >= last).result(
            SECONDS_MAX
        ),
        SECONDS_MAX,
        f"the scheduler did not fold {cell}",
    )


# --- schedulers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pins", WAYS.values(), ids=WAYS)
def test_a_scheduler_goes_on_after_a_pin_and_publishes_in_the_forms_of_the_level(pins):
    with World(report("a"), report("b")) as world:
        assert host_of(world.selected(asked("one")))
        for pin in pins:
            for cell in ("cell1", "cell0"):
                world.say(pin, cell=cell)
            assert host_of(world.selected(asked(f"after {pin.level}")))
        with open_log(world.url("cell1")) as log, log.read_from(0) as reader:
            records = [codec.decode_record(record.payload) for record in reader.read(1000)]
    claims = [record.level for record in records if getattr(record.events[0], "name", "") == "ClaimProposed"]
    assert sorted({*claims}) == [1, *(pin.level for pin in pins)] and claims[-1] == LEVEL


def test_a_cell_that_is_pinned_too_high_is_closed_and_the_other_goes_on(caplog):
    with World(report("a"), cells=("cell1", "cell2")) as world, caplog.at_level(logging.WARNING):
        world.say(report("b"), cell="cell2")
        world.say(TOO_HIGH)
        folded(world, "cell1")
        folded(world, "cell2")
        assert [host_of(world.selected(asked(f"vm-{number}"))) for number in range(3)] == ["b"] * 3
        world.say(report("c"))
        folded(world, "cell1")
        facts = world.scheduler.call(lambda engine: dict(engine.world.projections["cell1"].counts)).result(SECONDS_MAX)
        assert facts["too-new"] == 1
    closed = [line for line in caplog.messages if "cell cell1 is closed" in line]
    assert len(closed) == 1 and UNKNOWN in closed[0]


def test_no_request_is_decided_when_the_log_of_cell0_is_pinned_too_high():
    with World(report("a")) as world:
        world.say(TOO_HIGH, cell="cell0")
        folded(world, "cell0")
        with pytest.raises(NovaException) as refused:
            world.selected(asked("vm"))
    assert type(refused.value).__name__ == "ServiceUnavailable" and "Traceback" not in str(refused.value)


def test_a_scheduler_does_not_start_when_the_log_of_cell0_is_pinned_too_high():
    world = World(report("a"))
    world.say(TOO_HIGH, cell="cell0")
    with pytest.raises(errors.UnknownSchema, match="the log of cell0 is pinned"), world:
        pass
    world.scheduler.stop()


# --- conductors ------------------------------------------------------------------------------------------------------


def said(cell, data):
    """Append an event of an operator to a conductor's log."""
    voice = Voice(f"operator/{len(cell.log.url)}{cell.log.bounds().last}")
    cell.log.append([record_of(voice.say(data), epoch=cell.conductor.projection.epoch)])
    cell.scheduler.level = min(cell.folded().level, LEVEL)


@pytest.mark.parametrize("pins", WAYS.values(), ids=WAYS)
def test_a_conductor_builds_after_a_pin_and_its_agent_gets_the_level(pins):
    with Cell(LocalBus()) as cell:
        for pin in pins:
            said(cell, pin)
            assert cell.conductor.build_instance({}, cell.request("h1")).outcome == "built"
            cell.conductor.tick()
            assert {voice.producer.level for voice in cell.agent.hosts.values()} == {pin.level}


def test_an_alternate_that_is_claimed_while_the_log_is_pinned_is_claimed_again():
    with Cell(LocalBus()) as cell:
        cell.drivers["h1"].refuse = "no"
        request = cell.request("h1", "h2")
        # Without the fold of the pin the conductor publishes at level 1.
        publish = cell.conductor.engine.publish

        def late(*data):
            if any(isinstance(one, events.ClaimProposed) for one in data) and cell.conductor.projection.level == 1:
                voice = Voice("operator/late")
                cell.log.append([record_of(voice.say(PIN), epoch=cell.conductor.projection.epoch)])
            return publish(*data)

        cell.conductor.engine.publish = late
        outcome = cell.conductor.build_instance({}, request)
        assert (outcome.outcome, outcome.host) == ("built", "h2")
        assert cell.folded().level == LEVEL


def test_a_conductor_builds_nothing_in_a_log_that_is_pinned_too_high(caplog):
    with Cell(LocalBus()) as cell, caplog.at_level(logging.ERROR):
        request = cell.request("h1")
        said(cell, TOO_HIGH)
        with pytest.raises(errors.LogUnavailable, match="is pinned to level"):
            cell.conductor.build_instance({}, request)
        cell.conductor.tick()
        assert cell.conductor.projection.is_too_new
    assert [line for line in caplog.messages if "builds nothing any more" in line and UNKNOWN in line]


@pytest.mark.parametrize("pins", WAYS.values(), ids=WAYS)
def test_a_conductor_keeps_a_snapshot_as_soon_as_the_log_is_pinned(tmp_path, pins):
    store = FileStore(str(tmp_path))
    with Cell(LocalBus(), store=store, snapshot_interval=3600.0) as cell:
        for pin in pins:
            said(cell, pin)
            wait_until((tmp_path / f"cell1@{pin.level}.snapshot").exists, SECONDS_MAX, "no snapshot is kept")
            assert snapshot.head_of(store.load("cell1")).level == pin.level


def test_a_snapshot_that_does_not_know_the_pin_is_not_used(tmp_path, caplog):
    """A service of the level before has kept it, behind the pin."""
    store = FileStore(str(tmp_path))
    with Cell(LocalBus(), store=store, snapshot_interval=3600.0) as cell:
        said(cell, PIN)
        assert cell.conductor.build_instance({}, cell.request("h1")).outcome == "built"
        cell.conductor.tick()
        cell.settled()
        right = cell.folded()
        (tmp_path / f"cell1@{LEVEL}.snapshot").unlink()
        ignorant = Projection("cell1")
        with cell.log.read_from(0) as reader:
            for record in reader.read(1000):
                decoded = codec.decode_record(record.payload, record.account)
                kept = [event for event in decoded.events if decoded.level == 1 and event.name != "LevelPinned"]
                ignorant.fold([(record.position, decoded._replace(events=kept, level=1))])
        store.save("cell1", snapshot.dump(ignorant))
        cell.scheduler.wait(cell.scheduler.publish(cell.claim("h2", uuid_of("later"))), SECONDS_MAX)
        cell.folded()
        from conductor.cell import CellConductor

        with caplog.at_level(logging.WARNING):
            second = CellConductor("d", "cell1", cell.url, cell.bus, store=store).start(SECONDS_MAX)
            wait_until(lambda: second.projection.level == LEVEL, SECONDS_MAX, "the pin was not found")
            wait_until(lambda: second.projection.position >= right.position, SECONDS_MAX, "it did not fold")
            assert set(second.projection.hosts) == set(right.hosts)
            assert set(second.projection.consumers) == set(cell.conductor.projection.consumers)
            second.stop()
    assert [line for line in caplog.messages if "does not know that the log is pinned" in line]


def test_a_log_that_lost_its_pin_goes_on_from_a_snapshot_of_the_level_before(tmp_path):
    """The snapshot of the higher level does not fit any more, and the first records of the log are gone."""
    store = FileStore(str(tmp_path))
    url = f"memory://{tmp_path.name}"
    with open_log(url) as log:
        agent = Voice("compute_agent/a")
        opened = Voice("operator/one").say(events.LogOpened("cell1", EPOCH))
        log.append(
            [record_of(opened), record_of(agent.say(report("a"))), record_of(agent.say(report("a", disabled=True)))]
        )

        def kept():
            projection = Projection("cell1")
            with log.read_from(0) as reader:
                for record in reader.read(100):
                    projection.fold([(record.position, codec.decode_record(record.payload))])
            store.save("cell1", snapshot.dump(projection))

        kept()
        log.append([record_of(Voice("operator/two").say(PIN))])
        kept()
        log.truncate_before(1)
        log.lose_tail(1)
        packed, loss = fitting(store, "cell1", EPOCH, log, False)
        head = snapshot.head_of(packed)
        assert (head.position, head.level, loss) == (2, 1, None)
