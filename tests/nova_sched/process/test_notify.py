"""Messages to systemd: the test owns the socket."""

import socket
from pathlib import Path

import pytest

from nova_sched.process import notify
from nova_sched.process.monitoring.pulse import Pulse
from nova_sched.process.notify import STATUS_SECONDS, Notifier
from tests.builders import HandClock

#: Messages that the socket of a manager keeps: net.unix.max_dgram_qlen, or the system's usual limit.
QUEUE_MAX = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text()) if Path("/proc/sys/net").exists() else 512


class Manager:
    """What systemd does with NOTIFY_SOCKET."""

    def __init__(self, address):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._socket.bind(address)

    def received(self):
        """The messages since the last call."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def manager(tmp_path):
    return Manager(str(tmp_path / "notify"))


@pytest.fixture
def notifier(manager, tmp_path):
    return Notifier(str(tmp_path / "notify"), HandClock())


def test_each_state_has_its_message(manager, notifier):
    notifier.status("reads its logs")
    notifier.ready("answers the topic scheduler")
    notifier._clock.seconds += 5
    notifier.reloading()
    notifier.ready("answers the topic scheduler")
    notifier.stopping("ends: the log\nhas a gap")
    now = int(notifier._clock.monotonic() * 1e6)
    assert manager.received() == [
        "STATUS=reads its logs",
        "READY=1\nSTATUS=answers the topic scheduler",
        f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reads its configuration again",
        "READY=1\nSTATUS=answers the topic scheduler",
        "STOPPING=1\nSTATUS=ends: the log has a gap",
    ]


def test_a_manager_that_does_not_read_holds_nothing_up(manager, notifier, monkeypatch):
    monkeypatch.setattr(notify, "SEND_SECONDS_MAX", 0.001)
    # More than net.unix.max_dgram_qlen: the next one would wait for ever.
    for number in range(2 * QUEUE_MAX):
        notifier.status(f"status {number}")
    assert 1 <= len(manager.received()) < 2 * QUEUE_MAX
    notifier.status("it reads again")
    assert manager.received() == ["STATUS=it reads again"]


def test_a_status_is_sent_when_it_changes(manager, notifier):
    for text in ("one", "one", "two"):
        notifier.status(text)
    assert manager.received() == ["STATUS=one", "STATUS=two"]


def test_the_status_is_looked_at_from_time_to_time(notifier):
    assert notifier.is_status_due() and not notifier.is_status_due()
    notifier._clock.seconds += STATUS_SECONDS
    assert notifier.is_status_due()


def test_the_watchdog_gets_a_message_only_if_each_loop_went_round(manager, notifier):
    first, second = Pulse("first", HandClock()), Pulse("second", HandClock())
    first.beat()
    second.beat()
    assert notifier.alive([first, second])
    first.beat()
    assert not notifier.alive([first, second]), "the second loop is stuck"
    second.beat()
    assert notifier.alive([first, second])
    assert manager.received() == ["WATCHDOG=1", "WATCHDOG=1"]


def test_an_abstract_address(tmp_path):
    manager = Manager(f"\0nova_sched{tmp_path}")
    Notifier(f"@nova_sched{tmp_path}", HandClock()).ready("serves")
    assert manager.received() == ["READY=1\nSTATUS=serves"]


@pytest.mark.parametrize("address", ["", "/nowhere/notify"])
def test_without_systemd_nothing_happens(address):
    notifier = Notifier(address, HandClock())
    notifier.ready("serves")
    notifier.stopping("ends")
    assert notifier.alive([]) is bool(address)
