"""The audit of writes over several logs: it agrees with the fold about what is held, locked and written."""

import pytest

from nova_sched.projection import prepared as fold_of_prepared
from tests.builders import claim, consumer_put, created, facts_of, inventory_of, of, put, put_inventories, released
from tests.nova_sched.projection.test_prepared import aborted, committed, ended, ledger, prepared
from tests.nova_sched.replay.test_audit_writes import Audited

PART = prepared(consumer_put("a", of("p1", 4), of("p2", 2), generation=1), consumer_put("b", of("p1", 2)))
STORIES = {
    "committed": [PART, committed(), ended(), put(consumer_put("a", of("p2", 8)))],
    "given up": [PART, aborted(), put(consumer_put("b", of("p1", 5)))],
    "ended twice": [PART, committed(), aborted(), committed(), ended(), ended()],
    "locked": [PART, put(consumer_put("a")), put(consumer_put("b", of("p1", 1))), committed()],
    "held": [PART, put(consumer_put("c", of("p1", 3))), put(consumer_put("c", of("p1", 2))), committed()],
    "refused": [prepared(consumer_put("b", of("p1", 6))), committed(), put(consumer_put("b", of("p1", 5)))],
    "another home": [prepared(consumer_put("a"), home="cell2"), committed(), ended()],
    "home stays locked": [PART, committed(), put(consumer_put("a")), ended(), put(consumer_put("a"))],
    "its own uuid": [PART, put(consumer_put("write", of("p1", 1))), committed()],
    "a claim that is released": [
        created("host"),
        put_inventories("host", inventory_of("VCPU", 8)),
        facts_of("host", authority="nova"),
        claim("c", "host", of("host", 6)),
        prepared(consumer_put("c", of("host", 6), generation=1)),
        released("c"),
        put(consumer_put("d", of("host", 6))),
        committed(),
        put(consumer_put("d", of("host", 2))),
    ],
    "a claim meanwhile": [PART, claim("a", "nowhere"), committed(), created("p3")],
}


@pytest.mark.parametrize("story", STORIES)
def test_it_comes_to_the_same_answers(story):
    audited = Audited(cell=ledger())
    for data in STORIES[story]:
        audited.say(data, by="conductor/tap" if type(data).__name__ == "HostReported" else None)
    assert audited.breaches() == []


def test_it_begins_in_the_middle_of_one():
    cell = ledger()
    cell.say(PART)
    audited = Audited(cell=cell)
    for data in (put(consumer_put("a")), committed(), ended()):
        audited.say(data)
    assert audited.breaches() == []


def test_room_that_is_not_held_is_seen(monkeypatch):
    monkeypatch.setattr(fold_of_prepared, "_increase", lambda *_: ())
    audited = Audited(cell=ledger())
    for data in (PART, put(consumer_put("c", of("p1", 5)))):
        audited.say(data)
    assert any("was accepted, although capacity" in breach for breach in audited.breaches())


def test_a_lock_that_is_not_kept_is_seen(monkeypatch):
    audited = Audited(cell=ledger())
    audited.say(PART)
    audited.cell.projection.locked.clear()
    audited.say(put(consumer_put("a")))
    assert any("is in a write over several logs" in breach for breach in audited.breaches())
