"""What the log of a conductor says of hosts that are lost and seen again."""

from collections import namedtuple

import pytest

from conductor.losses import AT_MOST, SETTLED, HostLosses

Host = namedtuple("Host", "lost")
FIFTY = [f"h{number:02}" for number in range(50)]


def told(looks):
    """(time, line) of each log line; ``looks`` are (time, names of all hosts, names of those that are lost)."""
    losses = HostLosses("cell1")
    return [
        (now, line)
        for now, every, lost in looks
        for line in losses.look({name: Host(name in lost) for name in every}, now)
    ]


def each_second(end, lost_at, every=FIFTY):
    """Looks at every second until ``end``; ``lost_at(now)`` are those that are lost then."""
    return [(float(now), every, lost_at(now)) for now in range(end)]


def test_a_quiet_cell_says_nothing():
    assert told(each_second(100, lambda now: ())) == []


def test_one_host():
    assert told(each_second(400, lambda now: ["h07"] if 60 <= now < 200 else ())) == [
        (
            60 + SETTLED,
            "1 host of cell1 is lost: h07; 1 of 50 hosts is lost now and gets no instances; check their "
            "agents and machines",
        ),
        (200 + SETTLED, "1 host of cell1 is seen again, lost for 2 min 20 s: h07; no host is lost any more"),
    ]


@pytest.mark.parametrize("spread", [1, 10])
def test_fifty_at_once_are_one_line(spread):
    """Beats are spread over the report interval, and so are losses."""

    def lost(now):
        return [name for number, name in enumerate(FIFTY) if 60 + number * spread // 50 <= now < 300]

    said = told(each_second(400, lost))
    assert [line for _, line in said] == [
        "50 hosts of cell1 are lost: h00, h01, h02 and 47 more; 50 of 50 hosts are lost now and get no instances; "
        "check their agents and machines",
        "50 hosts of cell1 are seen again, lost for "
        f"{'4 min' if spread == 1 else '3 min 51 s to 4 min'}: h00, h01, h02 and 47 more; no host is lost any more",
    ]
    assert said[0][0] == 60 + spread - 1 + SETTLED


def test_a_storm_without_an_end_is_told_in_between():
    def lost(now):
        return FIFTY[: max(0, now - 60)]

    said = told(each_second(120, lost))
    assert [now for now, _ in said] == [61 + AT_MOST, 61 + 2 * AT_MOST + 1, 61 + 3 * AT_MOST + 2, 110 + SETTLED]


def test_some_come_back():
    def lost(now):
        return ["h01", "h02"] if 60 <= now < 100 else ["h02"] if now >= 100 else ()

    assert told(each_second(200, lost))[-1] == (
        100 + SETTLED,
        "1 host of cell1 is seen again, lost for 40 s: h01; 1 of 50 hosts is still lost",
    )


def test_lost_before_it_started_and_removed():
    looks = [(float(now), FIFTY if now < 50 else FIFTY[1:], ["h00"] if now < 50 else ()) for now in range(60)]
    assert told(looks) == [
        (
            SETTLED,
            "1 host of cell1 is lost: h00; 1 of 50 hosts is lost now and gets no instances; check their agents "
            "and machines",
        ),
        (
            50 + SETTLED,
            "1 host of cell1 is removed from the cell, lost since before this conductor started: h00; "
            "no host is lost any more",
        ),
    ]


def test_lost_and_back_before_it_was_told():
    """Both are logged, because both happened."""
    looks = each_second(100, lambda now: FIFTY[:5] if now == 60 else ())
    assert [line for _, line in told(looks)] == [
        "5 hosts of cell1 were lost, and are not lost any more: h00, h01, h02 and 2 more; check their agents and "
        "machines",
        "5 hosts of cell1 are seen again, lost for 1.0 s: h00, h01, h02 and 2 more; no host is lost any more",
    ]


def test_some_are_back_before_it_was_told():
    looks = each_second(100, lambda now: FIFTY[:3] if now == 60 else FIFTY[:2] if now > 60 else ())
    assert [line for _, line in told(looks)] == [
        "2 hosts of cell1 are lost: h00, h01; 2 of 50 hosts are lost now and get no instances; check their agents and "
        "machines",
        "1 host of cell1 was lost, and is not lost any more: h02; check their agents and machines",
        "1 host of cell1 is seen again, lost for 1.0 s: h02; 2 of 50 hosts are still lost",
    ]


def test_lost_again_before_it_was_told():
    looks = each_second(100, lambda now: () if now < 30 or now == 60 else ["h07"])
    assert [line.partition(";")[0] for _, line in told(looks)] == ["1 host of cell1 is lost: h07"] * 2
