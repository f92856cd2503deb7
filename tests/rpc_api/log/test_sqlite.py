"""The SQLite back-end: the contract, several processes, and files that are not what they should be."""

import multiprocessing
import os
import resource
import shutil
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rpc_api import errors
from rpc_api.log import (
    open_log,
    sqlite,  # noqa: F401  before a child process becomes nobody, who may not read our Python
)
from tests.rpc_api.log.contract import PATIENCE_SECONDS, EventLogContract, payloads, read_all

SPAWN = multiprocessing.get_context("spawn")
NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


class TestSqliteLog(EventLogContract):
    can_truncate = True


class TestSqliteLogWithoutFsync(EventLogContract):
    can_truncate = True

    @pytest.fixture
    def url(self, path):
        return f"sqlite:///{path}?synchronous=normal"


# Several processes. What a child does is a function here, and it answers by a pipe.


def _append(url, name, count, pipe):
    with open_log(url) as log:
        pipe.send("open")
        pipe.recv()
        for number in range(count):
            log.append([b"%s %d a" % (name, number), b"%s %d b" % (name, number)])


def _follow(url, count, pipe):
    with open_log(url, create=False) as log, log.read_from(0) as reader:
        pipe.send("open")
        pipe.send([tuple(record) for record in read_all(reader, count)])


def _append_until_refused(url, limit_bytes, pipe):
    with open_log(url) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
        appended = 0
        try:
            while True:
                log.append([b"x" * 10_000, b"y" * 10_000])
                appended += 2
        except errors.LogUnavailable as exc:
            pipe.send((str(exc), appended, log.bounds().count))


def _become_nobody():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def _read_as_nobody(url, pipe):
    _become_nobody()
    try:
        open_log(url, create=False)
    except errors.LogUnavailable as exc:
        pipe.send(str(exc))


def _use_as_nobody(url, pipe):
    _become_nobody()
    try:
        with open_log(url) as log:
            bounds = log.bounds()
            log.append([b"x"])
            pipe.send((bounds, "appended"))
    except errors.LogUnavailable as exc:
        pipe.send(str(exc))


def _start(target, *args):
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(*args, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def _receive(pipe):
    assert pipe.poll(PATIENCE_SECONDS * 2), "the child process says nothing"
    return pipe.recv()


def test_processes_append_and_follow_at_once(url):
    writers, count = 3, 40
    with open_log(url) as log:
        followers = [_start(_follow, url, writers * count * 2) for _ in range(2)]
        appenders = [_start(_append, url, b"w%d" % number, count) for number in range(writers)]
        for _, pipe in followers + appenders:
            assert _receive(pipe) == "open"
        for _, pipe in appenders:
            pipe.send("go")
        with log.read_from(0) as reader:
            here = read_all(reader, writers * count * 2)
        assert [_receive(pipe) for _, pipe in followers] == [here, here]
    for process, _ in followers + appenders:
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0
    assert [record.position for record in here] == list(range(writers * count * 2))
    for number in range(0, len(here), 2):  # a batch stays together
        assert here[number].payload[:-1] == here[number + 1].payload[:-1]


def test_processes_may_create_it_at_once(url):
    children = [_start(_append, url, b"w%d" % number, 1) for number in range(4)]
    for _, pipe in children:
        assert _receive(pipe) == "open"
        pipe.send("go")
    for process, _ in children:
        process.join(PATIENCE_SECONDS)
        assert process.exitcode == 0
    with open_log(url, create=False) as log:
        assert log.bounds() == (0, 7)


def test_threads_may_create_it_at_once(url):
    with ThreadPoolExecutor(8) as pool:
        logs = list(pool.map(open_log, [url] * 8))
    logs[0].append([b"one"])
    assert [log.bounds() for log in logs] == [(0, 0)] * 8
    for log in logs:
        log.close()


def test_a_full_disk_keeps_the_whole_batch_out(url):
    process, pipe = _start(_append_until_refused, url, 500_000)
    text, appended, count = _receive(pipe)
    process.join(PATIENCE_SECONDS)
    assert "cannot append to the log" in text and "free space" in text
    assert appended > 0 and count == appended
    with open_log(url) as log, log.read_from(0) as reader:
        assert log.bounds().count == appended == len(read_all(reader, appended))


def test_an_append_that_is_broken_off_leaves_nothing_behind(url):
    class Interrupted(list):
        """Is read to its end once, by the checks."""

        passes = 0

        def __iter__(self):
            self.passes += 1
            if self.passes > 1:
                yield self[0]
                raise KeyboardInterrupt
            yield from super().__iter__()

    with open_log(url) as log:
        with pytest.raises(KeyboardInterrupt):
            log.append(Interrupted(payloads(3)))
        assert log.bounds() == (0, -1)
        log.append(payloads(1))
        assert log.bounds() == (0, 0)


@pytest.fixture
def open_to_nobody():
    """A directory that a user without rights may enter and read (pytest's own is closed to others)."""
    directory = Path(tempfile.mkdtemp(prefix="nova_sched-test-sqlite-"))
    directory.chmod(0o755)
    yield directory
    directory.chmod(0o755)
    shutil.rmtree(directory)


def test_a_file_that_may_only_be_read(open_to_nobody):
    path = open_to_nobody / "events.db"
    with open_log(f"sqlite:///{path}") as log:
        log.append([b"x"])
        for file in open_to_nobody.iterdir():
            file.chmod(0o444)
        open_to_nobody.chmod(0o555)
        _, pipe = _start(_use_as_nobody, f"sqlite:///{path}")
        text = _receive(pipe)
        assert "cannot append to the log" in text and "check that this user may write" in text
        assert log.bounds() == (0, 0)


def test_a_directory_that_may_only_be_read(open_to_nobody):
    open_to_nobody.chmod(0o555)
    _, pipe = _start(_use_as_nobody, f"sqlite:///{open_to_nobody}/events.db")
    text = _receive(pipe)
    assert "cannot create the log" in text and f"check that {open_to_nobody} is a directory" in text


def test_a_directory_that_may_not_be_entered(open_to_nobody):
    path = open_to_nobody / "events.db"
    with open_log(f"sqlite:///{path}"):
        open_to_nobody.chmod(0o600)
        _, pipe = _start(_read_as_nobody, f"sqlite:///{path}")
        assert f"this user has no permission to enter {open_to_nobody}; " in _receive(pipe)


def test_positions_survive_the_process(url):
    with open_log(url) as log:
        log.append(payloads(3))
        log.truncate_before(2)
    with open_log(url, create=False) as log:
        log.append(payloads(1, start=3))
        assert log.bounds() == (2, 3)


# Files that are not what they should be


def test_a_missing_directory(tmp_path):
    with pytest.raises(errors.LogUnavailable, match=f"{tmp_path}/none is not a directory; create it"):
        open_log(f"sqlite:///{tmp_path}/none/events.db")


def test_a_file_that_is_no_database(path, url):
    path.write_text("not a database " * 100)
    for create in (True, False):
        with pytest.raises(errors.UsageError, match="is not a log of nova_sched"):
            open_log(url, create)
    assert path.read_text() == "not a database " * 100


def test_the_database_of_another_program(path, url):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE instances (uuid TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(errors.UsageError, match="another program"):
        open_log(url)


def test_a_format_of_a_later_version(path, url):
    open_log(url).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(errors.UnknownSchema, match="its format is 2, wanted 1"):
        open_log(url)


def test_an_empty_file_becomes_a_log_only_with_create(path, url):
    path.touch()
    with pytest.raises(errors.LogGone, match="has no tables yet; create the log"):
        open_log(url, create=False)
    with open_log(url) as log:
        assert log.bounds() == (0, -1)


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["removed", "replaced"])
def test_a_file_that_goes_away_under_its_users(path, url, change):
    log = open_log(url)
    reader = log.read_from(0)
    path.rename(path.with_suffix(".old"))
    path.touch()
    change(path)
    with pytest.raises(errors.LogUnavailable, match="removed or replaced"):
        log.append([b"lost"])
    with pytest.raises(errors.LogGap, match="removed or replaced"):
        reader.read(timeout=PATIENCE_SECONDS)
    log.close()


def test_a_removed_record_is_a_gap(path, url):
    with open_log(url) as log:
        log.append(payloads(5))
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM records WHERE position = 2")
        connection.commit()
        connection.close()
        with log.read_from(0) as reader, pytest.raises(errors.LogGap, match="position 2"):
            for _ in range(2):
                reader.read()


# URLs


def test_relative_and_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open_log("sqlite:///relative.db") as log:
        log.append([b"x"])
    with open_log(f"sqlite:///{tmp_path}/relative.db", create=False) as log:
        assert log.bounds() == (0, 0)


def test_a_path_with_signs_of_its_own(tmp_path):
    with open_log(f"sqlite:///{tmp_path}/a%20%25%3Fb%23.db") as log:
        log.append([b"x"])
    assert (tmp_path / "a %?b#.db").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        "sqlite://events.db",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///:memory:",
        "sqlite:///a#b",
        "sqlite:///a?synchronous=off",
        "sqlite:///a?synchronous=",
        "sqlite:///a?mode=ro",
        "sqlite:///a?synchronous=full&mode=ro",
    ],
)
def test_urls_of_another_form(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UsageError, match="fix the log URL"):
        open_log(wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option, level", [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
def test_synchronous_is_what_the_url_says(url, option, level):
    with open_log(url + option) as log:
        assert log._connection.execute("PRAGMA synchronous").fetchone() == (level,)
        assert log._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda path: path.write_bytes(b"x"), "a file of another kind"),
        (lambda path: path.write_bytes(b"SQLite format 2\0" * 600), "is not a log of nova_sched"),
        (lambda path: os.mkfifo(path), "it is not a file"),
    ],
)
@pytest.mark.parametrize("create", [True, False])
def test_what_only_looks_empty_or_like_a_file_is_refused(tmp_path, make, told, create):
    make(tmp_path / "log.db")
    with pytest.raises(errors.UsageError, match=told):
        open_log(f"sqlite:///{tmp_path}/log.db", create)


@pytest.mark.parametrize("position", [59, -3])
def test_a_damaged_log_is_not_an_empty_one(tmp_path, position):
    with open_log(f"sqlite:///{tmp_path}/log.db") as log:
        log.append([b"one", b"two"])
        with sqlite3.connect(tmp_path / "log.db") as database:
            database.execute("DELETE FROM records")
            database.execute("INSERT INTO records VALUES (?, 'x')", (position,))
            database.execute("UPDATE sqlite_sequence SET seq = 1")
        with pytest.raises(errors.LogGap, match=f"its first record is {position}, and its last one 1"):
            log.bounds()


def test_a_log_that_lost_its_count_is_a_gap(tmp_path):
    with open_log(f"sqlite:///{tmp_path}/log.db") as log:
        log.append([b"one"])
        with sqlite3.connect(tmp_path / "log.db") as database:
            database.execute("DELETE FROM records")
            database.execute("DELETE FROM sqlite_sequence")
        with pytest.raises(errors.LogGap, match="no count of its records"):
            log.bounds()
