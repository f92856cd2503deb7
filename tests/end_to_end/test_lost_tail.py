"""Logs that lose their last records, confirmed ones too, keep their epoch and grow again: as after a power cut."""

import logging
import re
import sqlite3
import uuid

import msgpack
import pytest

from nova_sched.cli.main import main
from nova_sched.process.cell_log import find_beginning, keep_newest
from nova_sched.process.read_before import ReadBefore
from nova_sched.process.snapshot_store import FileStore
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.replay.logs.reading import records_of
from rpc_api import codec, errors, events
from rpc_api.clock import SYSTEM
from rpc_api.log import open_log
from tests.builders import Voice, claim, of, record_of, report
from tests.end_to_end.test_recovery import SECONDS_MAX, Site, agree, built, knows
from tests.servers import RabbitServer, wait_until


def cut(url, keep):
    """A power cut: the log of a URL has only its first ``keep`` records, and its next position is that after them."""
    if url.startswith("memory:"):
        log = open_log(url)
        log.lose_tail(log.bounds().last + 1 - keep)
        return
    with sqlite3.connect(url.removeprefix("sqlite:///")) as database:
        database.execute("DELETE FROM records WHERE position >= ?", (keep,))
        database.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'records'", (keep - 1,))
    database.close()


def log_at(tmp_path, kind):
    return f"memory://{uuid.uuid4()}" if kind == "memory" else f"sqlite:///{tmp_path}/cell1.db"


def fold(url):
    """The state of a whole log."""
    projection = Projection("cell1")
    projection.fold(records_of(url))
    return projection


def running(url):
    """Instances that run, as the log says."""
    return {entry.instance_uuid for host in fold(url).hosts.values() for entry in host.entries.values()}


# --- readers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("lost, grown", [(1, 0), (1, 1), (3, 5), (2, 2)])
@pytest.mark.parametrize("has_read", [True, False], ids=["has read", "is at the end"])
def test_a_reader_does_not_go_on_in_a_log_that_lost_records(tmp_path, kind, lost, grown, has_read):
    with open_log(log_at(tmp_path, kind)) as log:
        log.append([b"%d" % number for number in range(10)])
        with log.read_from(0 if has_read else 10) as reader:
            assert len(reader.read()) == (10 if has_read else 0)
            cut(log.url, 10 - lost)
            if grown:
                log.append([b"another %d" % number for number in range(grown)])
            with pytest.raises(errors.LogGap):
                reader.read()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("has_read", [True, False], ids=["has read", "is at the end"])
def test_a_reader_notices_other_records_before_the_same_last_one(tmp_path, kind, has_read):
    """Others wrote as many as were lost before a record that its producer appends again."""
    with open_log(log_at(tmp_path, kind)) as log:
        log.append([b"%d" % number for number in range(30)])
        with log.read_from(0 if has_read else 30) as reader:
            reader.read()
            cut(log.url, 27)
            log.append([b"another 27", b"another 28", b"29", b"30"])
            for _ in range(2):
                with pytest.raises(errors.LogGap, match="the record 27 is not the one that was read before"):
                    reader.read()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_reader_goes_on_in_a_log_that_has_the_records_again(tmp_path, kind):
    """As an appender makes its append again that was not confirmed."""
    with open_log(log_at(tmp_path, kind)) as log:
        log.append([b"%d" % number for number in range(10)])
        with log.read_from(0) as reader:
            reader.read()
            cut(log.url, 8)
            log.append([b"8", b"9", b"10"])
            assert [record.payload for record in reader.read()] == [b"10"]


# --- where a log is begun ----------------------------------------------------------------------------------------


class Story:
    """The log of a cell with a host that is full, and a snapshot of records that are lost then."""

    def __init__(self, tmp_path, kind):
        self.url = log_at(tmp_path, kind)
        self.store = FileStore(str(tmp_path / "snapshots"))
        with open_log(self.url) as log:
            self.epoch, _, _ = find_beginning(log, "cell1", "conductor/c", SYSTEM, None)
        self.scheduler, self.host = Voice("scheduler/s"), Voice("compute_agent/h")
        self.append(self.host, report("h"))
        self.append(self.scheduler, *(claim(f"vm-{number}", "h", of("h", 1)) for number in range(8)))
        self.begun = open_log(self.url).bounds().last + 1

    def append(self, voice, *data):
        with open_log(self.url) as log:
            log.append([codec.encode_record(self.epoch, [voice.say(one)]) for one in data])

    def release(self, *numbers):
        claims = [claim(f"vm-{number}", "h", of("h", 1)) for number in numbers]
        self.append(self.scheduler, *(events.ClaimReleased(one.consumer_uuid, one.claim_uuid, "x") for one in claims))

    def begin(self, known=None):
        with open_log(self.url) as log:
            return find_beginning(log, "cell1", "scheduler/z", SYSTEM, self.store, known=known)[1]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("grown", [0, 2, 4, 9], ids=lambda grown: f"grown by {grown}")
def test_a_snapshot_of_a_lost_tail_is_not_used(tmp_path, kind, grown, caplog):
    story = Story(tmp_path, kind)
    story.release(1, 2, 3, 4)
    diverged = snapshot.dump(fold(story.url))
    story.store.save("cell1", diverged)
    assert story.begin().snapshot == diverged and story.begin().kept is None
    cut(story.url, story.begun)
    story.append(Voice("scheduler/t"), *(claim(f"later-{number}", "h", of("h", 1)) for number in range(grown)))
    caplog.clear()
    beginning = story.begin()
    assert (beginning.snapshot, beginning.first, beginning.kept) == (None, 0, story.begun - 1)
    assert "the log of cell1 lost 4 positions, those after" in caplog.text
    with open_log(story.url) as log, pytest.raises(errors.SnapshotMismatch):
        keep_newest(story.store, "cell1", diverged, log)
    right = snapshot.dump(fold(story.url))
    with open_log(story.url) as log:
        assert keep_newest(story.store, "cell1", right, log), "the diverged one is not newer, whatever its position"
    assert story.store.load("cell1") == right == story.begin().snapshot


def without_proof(packed):
    """A snapshot as the version before made it."""
    parts, body = snapshot.split(packed)
    state = body[: body.rindex(snapshot._packed_proof(snapshot.head_of(packed).proof))]
    return msgpack.packb((*parts[:6], snapshot._checksum(snapshot.Head(*parts[2:6]), state))) + state


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize(
    "what, is_used",
    [
        ("first records removed", True),
        ("rebased", True),
        ("whole", False),
        ("diverged", False),
        ("damaged", False),
        ("another log", False),
        ("its record removed", False),
    ],
)
def test_a_snapshot_of_the_version_before_is_used_where_the_state_would_be_lost_without_it(
    tmp_path, kind, what, is_used, caplog
):
    """Law 10. cell0's aggregates, which nobody reports again, would go with a rebase."""
    story = Story(tmp_path, kind)
    if what == "rebased":
        story.append(Voice("conductor/c"), events.LogRebased("cell1", 0))
        story.append(Voice("compute_agent/h", 2), report("h"))
    story.release(1, 2, 3, 4)
    projection = fold(story.url)
    if what == "another log":
        projection.epoch = str(uuid.uuid4())
    old = without_proof(snapshot.dump(projection))
    story.store.save("cell1", old[:-1] if what == "damaged" else old)
    if what == "diverged":
        cut(story.url, story.begun)
        story.append(Voice("scheduler/t"), *(claim(f"later-{number}", "h", of("h", 1)) for number in range(9)))
    if what != "whole":
        with open_log(story.url) as log:
            log.truncate_before(log.bounds().last - (0 if what == "its record removed" else 2))
            if what == "its record removed":
                story.release(5)
                log.truncate_before(log.bounds().last)
    beginning = story.begin()
    assert (beginning.snapshot is not None, beginning.whole) == (is_used, is_used or what == "whole")
    if is_used:
        assert snapshot.head_of(beginning.snapshot).proof
        late = snapshot.load(beginning.snapshot)
        assert state_digest(late) == state_digest(projection)
        story.release(5)
        late.fold([one for one in records_of(story.url) if one[0] > late.position])
        with open_log(story.url) as log:
            assert keep_newest(story.store, "cell1", snapshot.dump(late), log)
        assert story.begin().snapshot == story.store.load("cell1")


def test_a_snapshot_that_is_kept_while_a_log_begins_is_not_taken_for_a_loss(tmp_path, monkeypatch):
    """The log is looked at after the snapshot, which another process may keep at any time."""
    story = Story(tmp_path, "memory")
    load = FileStore.load_all

    def slow(store, cell):
        story.release(5)
        store.save(cell, snapshot.dump(fold(story.url)))
        return load(store, cell)

    monkeypatch.setattr(FileStore, "load_all", slow)
    assert story.begin().snapshot is not None and story.begin().kept is None


def test_two_states_at_one_position_are_told(tmp_path, caplog):
    story = Story(tmp_path, "memory")
    right = fold(story.url)
    wrong = snapshot.load(snapshot.dump(right))
    wrong.fences["00000000-0000-4000-8000-000000000001"] = 7
    story.store.save("cell1", snapshot.dump(wrong))
    with open_log(story.url) as log:
        assert keep_newest(story.store, "cell1", snapshot.dump(right), log)
    assert f"two states of cell1 at position {right.position} differ" in caplog.text


@pytest.mark.parametrize("before, lost, kept", [(20, 5, 14), (20, 19, 0), (0, 5, 14)])
def test_what_was_read_before_says_how_much_is_lost(before, lost, kept):
    """Counted from the records that were read, and from the proof of the snapshot that they come after."""
    url = f"memory://{uuid.uuid4()}"
    with open_log(url) as log:
        log.append([record_of(Voice("scheduler/s").say(events.GroupFenced(str(uuid.uuid4()), 1))) for _ in range(20)])
        records, known = list(records_of(url)), ReadBefore()
        projection = Projection("cell1")
        projection.fold(records)
        known.begin("e", None if before else snapshot.dump(projection))
        known.add(records[:before])
        log.lose_tail(lost)
        loss = known.lost(log, log.bounds(), "e")
        assert (loss.kept, loss.positions, loss.certain) == (kept, 19 - kept, True)
        assert known.lost(log, log.bounds(), "another") is None
        log.delete()


# --- services ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("snapshots", [True, False], ids=["snapshot", "no snapshot"])
def test_services_find_again_what_a_log_lost(tmp_path, kind, snapshots, caplog):
    caplog.set_level(logging.WARNING)
    store = FileStore(str(tmp_path / "snapshots")) if snapshots else None
    with Site(tmp_path, kind, store) as site:
        conductor, agent, scheduler = site.conductor(), site.agent(), site.scheduler()
        api = site.serve(scheduler)
        built(api, 1)
        keep = site.log().bounds().last + 1
        built(api, 2)
        built(api, 3)
        if snapshots:
            conductor.keep_snapshot()
            wait_until(lambda: store.load("cell1"), SECONDS_MAX, "no snapshot")
        url = site.urls["cell1"]
        last = wait_until(lambda: settled(url, conductor), SECONDS_MAX, "the log was not folded")
        cut(url, keep)
        assert len(running(url)) == 1
        wait_until(lambda: len(running(url)) == 3, SECONDS_MAX, "no agent reported what it runs")
        wait_until(lambda: knows(scheduler, ("h1", "h2"), 3), SECONDS_MAX, "the scheduler does not know all instances")
        assert f"the log of cell1 lost {last + 1 - keep} positions, those after {keep - 1}" in caplog.text
        built(api, 4)
        agree(scheduler, conductor)
        late = site.scheduler("late")
        agree(late, conductor)
        assert agent.epoch == conductor.projection.epoch


@pytest.mark.rabbit
@pytest.mark.timeout(300)
@pytest.mark.parametrize("grown", [False, True], ids=["shorter", "grown again"])
def test_services_find_again_what_a_stream_lost(tmp_path, grown, caplog):
    """The broker's data directory is as it was a moment earlier."""
    caplog.set_level(logging.WARNING)
    store = FileStore(str(tmp_path / "snapshots"))
    with RabbitServer() as server, Site(tmp_path, "rabbit", store, server) as site:
        conductor = site.conductor()
        site.agent()
        scheduler = site.scheduler()
        api = site.serve(scheduler)
        built(api, 1)
        url = site.urls["cell1"]
        begin = open_log(url).bounds().last
        server.wait_kept()
        with server.losing_its_tail():
            wait_until(lambda: readable(url) and knows(scheduler, ("h1", "h2"), 1), 60, "the broker is not back")
            keep = open_log(url).bounds().last + 1
            built(api, 2)
            built(api, 3)
            last = wait_until(lambda: settled(url, conductor), SECONDS_MAX, "the log was not folded")
            conductor.keep_snapshot()
            wait_until(lambda: store.load("cell1"), SECONDS_MAX, "no snapshot")
            epoch = conductor.projection.epoch
        if grown:
            wait_until(lambda: readable(url), 60, "the broker is not back")
            voice = Voice("scheduler/other")
            with open_log(url) as log:
                log.append(
                    [
                        codec.encode_record(epoch, [voice.say(events.GroupFenced(str(uuid.uuid4()), 1))])
                        for _ in range(last + 3 - keep)
                    ]
                )
        wait_until(lambda: readable(url) and len(running(url)) == 3, 60, "no agent reported what it runs")
        wait_until(lambda: knows(scheduler, ("h1", "h2"), 3), 60, "the scheduler does not know all instances")
        # (The services may have written between the moment that came back and the look at it.)
        lost, kept = map(
            int, re.search(r"the log of cell1 lost (\d+) positions, those after (\d+)", caplog.text).groups()
        )
        assert begin <= kept < keep and lost == last - kept
        agree(scheduler, conductor)
        built(api, 4)
        agree(site.scheduler("late"), conductor)
        wait_until(lambda: is_whole(url, conductor), SECONDS_MAX, "the conductor has another state than the log")


def readable(url):
    """Whether a log can be read now."""
    try:
        with open_log(url, create=False) as log:
            return log.bounds().count
    except errors.LogUnavailable:
        return False


def settled(url, conductor):
    """The last position of a log, if a conductor has folded it."""
    last = open_log(url).bounds().last
    return last if conductor.projection.position == last else None


def is_whole(url, conductor):
    """Whether a conductor has the state of the whole log; services may be writing to it now."""
    whole = fold(url)
    return whole.position == conductor.projection.position and state_digest(whole) == state_digest(conductor.projection)


def test_a_conductor_that_never_saw_what_a_log_lost_asks_all_agents(tmp_path):
    """Neither its own memory nor a snapshot shows the loss: hosts report when they beat to it for the first time."""
    with Site(tmp_path, "sqlite") as site:
        first = site.conductor("first")
        site.agent()
        scheduler = site.scheduler()
        api = site.serve(scheduler)
        built(api, 1)
        keep = site.log().bounds().last + 1
        built(api, 2)
        wait_until(lambda: settled(site.urls["cell1"], first), SECONDS_MAX, "the log was not folded")
        first.stop()
        scheduler.stop()
        cut(site.urls["cell1"], keep)
        assert len(running(site.urls["cell1"])) == 1
        site.conductor("late")
        wait_until(lambda: len(running(site.urls["cell1"])) == 2, SECONDS_MAX, "no agent reported what it runs")


def test_claims_that_were_answered_are_claimed_again(tmp_path):
    """Their builds have not begun: no agent knows of them."""
    from tests.builders import request, uuid_of

    with Site(tmp_path, "sqlite") as site:
        conductor = site.conductor()
        site.agent()
        scheduler = site.scheduler()
        wait_until(lambda: knows(scheduler, ("h1", "h2"), 0), SECONDS_MAX, "the hosts were not reported")
        keep = site.log().bounds().last + 1
        answers = [
            scheduler.select(request(request_id=f"req-{number}"), [uuid_of(f"vm{number}")], 0).result(SECONDS_MAX)
            for number in range(10)
        ]
        wait_until(lambda: settled(site.urls["cell1"], conductor), SECONDS_MAX, "the log was not folded")
        cut(site.urls["cell1"], keep)
        wait_until(
            lambda: running(site.urls["cell1"]) == {answer[0][0].instance_uuid for answer in answers},
            SECONDS_MAX,
            "the claims were not made again",
        )
        hosts = fold(site.urls["cell1"]).hosts.values()
        claims = {entry.claim_uuid for host in hosts for entry in host.entries.values()}
        assert claims == {answer[0][0].claim_uuid for answer in answers}
        wait_until(
            lambda: state_digest(conductor.projection) == state_digest(fold(site.urls["cell1"])),
            SECONDS_MAX,
            "the conductor has another state",
        )


# --- what an operator types --------------------------------------------------------------------------------------


def test_a_diverged_service_is_found_and_put_right(tmp_path, capsys):
    """The cloud runs on a snapshot of a lost tail, which the version before accepted."""
    story = Story(tmp_path, "sqlite")
    story.release(1, 2, 3, 4)
    diverged = fold(story.url)
    story.store.save("cell1", snapshot.dump(diverged))
    cut(story.url, story.begun)
    story.append(Voice("scheduler/t"), *(claim(f"later-{number}", "h", of("h", 1)) for number in range(40)))
    diverged.fold([one for one in records_of(story.url) if one[0] > diverged.position])
    named = ["--log", f"cell1={story.url}", "--to", f"file://{tmp_path}/snapshots"]
    right = fold(story.url)
    stated = [f"cell1:{one.position}={state_digest(one)}" for one in (right, diverged)]
    assert main(["snapshot", *named, "--compare", stated[0]]) == 0
    assert "the state of the log" in capsys.readouterr().out
    assert main(["snapshot", *named, *(part for one in stated for part in ("--compare", one))]) == 4
    assert f"another state, the log gives {state_digest(right)}" in capsys.readouterr().out
    assert main(["snapshot", *named, "--check"]) == 4
    assert main(["snapshot", *named]) == 0
    assert main(["snapshot", *named, "--check"]) == 0
    assert story.begin().snapshot == snapshot.dump(right), "what starts again has the state of the log"
    capsys.readouterr()
    assert main(["snapshot", *named, "--compare", f"cell1:{right.position + 5}={'0' * 32}"]) == 4
    assert "it lost the records up to" in capsys.readouterr().out


@pytest.mark.parametrize("stated", ["cell1", "cell1:4", "cell1:x=" + "0" * 32, "cell1:4=0", "cell7:4=" + "0" * 32])
def test_a_state_of_another_form_is_not_compared(tmp_path, stated, capsys):
    story = Story(tmp_path, "sqlite")
    assert (
        main(["snapshot", "--log", f"cell1={story.url}", "--to", f"file://{tmp_path}/snapshots", "--compare", stated])
        == 2
    )
