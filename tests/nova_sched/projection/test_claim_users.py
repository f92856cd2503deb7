"""The user of a claim: which user and project a consumer has after it, at each level."""

import pytest

from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from placement_api.projects import consumers_of
from rpc_api import codec, events
from rpc_api.levels import LEVEL
from tests.builders import Cell, Voice, claim, consumer_put, facts_of, of, put, record_of, released, uuid_of

VM = uuid_of("vm")
#: The level of a log from which on a claim has a user.
WITH_USER = 4
FACTS = ("project_id", "user_id", "consumer_type")


def owner(cell, consumer=VM):
    """(Project, user, type) of a consumer."""
    holder = cell.projection.holders[consumer]
    return tuple(getattr(holder, name) for name in FACTS)


def cell_at(level):
    """Two hosts of Nova in a log of a level, through the codec as a reader gets them."""
    cell = Cell(events.LevelPinned(level))
    for host in ("a", "b"):
        cell.say(events.ProviderCreated(uuid_of(host), host, None, "req", "admin"))
        inventory = events.Inventory("VCPU", 8, 0, 1, 8, 1, 1.0)
        cell.say(events.InventoriesPut(uuid_of(host), 0, "all", (inventory,), "req", "admin"))
        cell.say(facts_of(host, authority="nova"), by="conductor/c")
    return cell


def claimed(cell, host, user, project="project", generation=None):
    """Claim on a host, in the form that the level of the log has; returns the outcome."""
    data = claim("vm", host, of(host, 1))
    data = data._replace(user_id=user, project_id=project, consumer_generation=generation)
    event = cell.voice("scheduler/s").say(data)
    record = codec.decode_record(record_of(event, level=cell.projection.level))
    return cell.append(record.events)


#: What it is about: (what the consumer holds before: its project and user; user and project of the claim; the owner
#: then at level 3; the same at level 4).
TABLE = {
    "a new claim": (None, "u", "project", ("project", None, None), ("project", "u", None)),
    "a new claim without a user": (None, None, "project", ("project", None, None), ("project", None, None)),
    "a new claim without a project": (None, "u", None, (None, None, None), (None, "u", None)),
    "an evacuation": (("p", "u"), "u", "p", ("p", "u", "INSTANCE"), ("p", "u", "INSTANCE")),
    "an evacuation for another user": (("p", "u"), "other", "p", ("p", "u", "INSTANCE"), ("p", "other", "INSTANCE")),
    "an evacuation without a user": (("p", "u"), None, "other", ("p", "u", "INSTANCE"), ("p", "u", "INSTANCE")),
    "an evacuation without a project": (("p", "u"), "other", None, ("p", "u", "INSTANCE"), ("p", "other", "INSTANCE")),
}


@pytest.mark.parametrize("level", [3, 4])
@pytest.mark.parametrize("name", TABLE)
def test_the_owner_after_a_claim(name, level):
    before, user, project, at_three, at_four = TABLE[name]
    cell, generation = cell_at(level), None
    if before is not None:
        assert cell.say(put(consumer_put("vm", of("a", 1), project=before[0], user=before[1], kind="INSTANCE"))) == "ok"
        generation = 1
    assert claimed(cell, "b", user, project, generation) == "accepted"
    assert owner(cell) == {3: at_three, 4: at_four}[level]
    holder = cell.projection.holders[VM]
    if level == WITH_USER and user is not None:
        assert {entry.project_id for entry in cell.projection.consumers[VM]} == {holder.project_id}
    assert (holder.generation, holder.written_ns > 0) == (1 if before is None else 2, True)


def test_another_project_is_found_by_the_index_of_projects():
    """As after a write of Placement's API, the whole consumer is of the project that came last."""
    cell = cell_at(WITH_USER)
    cell.say(put(consumer_put("vm", of("a", 1), project="p")))
    assert list(consumers_of(cell.projection, "p")) == [VM]
    assert claimed(cell, "b", "u2", "p2", 1) == "accepted"
    assert (list(consumers_of(cell.projection, "p")), list(consumers_of(cell.projection, "p2"))) == ([], [VM])
    assert owner(cell) == ("p2", "u2", None)


def test_a_refused_claim_changes_nothing():
    cell = cell_at(WITH_USER)
    cell.say(put(consumer_put("vm", of("a", 1), project="p")))
    before = cell.projection.holders[VM].facts()
    assert claimed(cell, "b", "other", "p", 7) != "accepted"
    assert cell.projection.holders[VM].facts() == before


def test_the_user_is_gone_with_the_claim():
    """The next claim of the consumer, such as that of an alternate, brings its own."""
    cell = cell_at(WITH_USER)
    assert claimed(cell, "a", "u") == "accepted"
    cell.say(released("vm"), by="conductor/c")
    assert VM not in cell.projection.holders
    assert claimed(cell, "b", "other") == "accepted"
    assert owner(cell)[1] == "other"


def test_the_user_is_in_snapshots():
    cell = cell_at(WITH_USER)
    claimed(cell, "a", "u")
    loaded = snapshot.load(snapshot.dump(cell.projection))
    assert loaded.holders[VM].facts() == cell.projection.holders[VM].facts() and loaded.level == WITH_USER
    assert state_digest(loaded) == state_digest(cell.projection)


def test_a_claim_from_before_the_pin_stays_without_a_user():
    cell = cell_at(3)
    assert claimed(cell, "a", "u") == "accepted"
    cell.say(events.LevelPinned(WITH_USER), by="operator/o")
    assert owner(cell) == ("project", None, None)


@pytest.mark.parametrize("level", range(1, LEVEL + 1))
def test_a_record_has_the_user_only_from_its_level_on(level):
    """A service of the release before reads the record: it has the form of the log's level."""
    data = claim("vm", "a")._replace(user_id="u")
    (event,) = codec.decode_record(record_of(Voice("scheduler/s").say(data), level=level)).events
    assert event.version == {1: "1.1", 2: "1.2", 3: "1.3", 4: "1.4"}[level]
    assert event.data.user_id == ("u" if level >= WITH_USER else None)


def test_a_user_in_a_record_of_an_older_level_is_set_aside():
    """It would count for some services only."""
    forged = Voice("scheduler/s").say(claim("vm", "a")._replace(user_id="u"))
    payload = bytearray(record_of(forged, level=WITH_USER))
    payload[1] = WITH_USER - 1
    projection = Projection("cell1")
    record = codec.decode_record(bytes(payload))
    assert [event.code for event in record.events] == ["newer-version"]
    projection.fold([(0, record)])
    assert not projection.consumers
