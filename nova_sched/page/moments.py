"""The moment that a request asks about: a place on the tape of each cell."""

from typing import NamedTuple

from nova_sched.page.answers import NotThere, PageError
from nova_sched.replay.logs.moments import Moment, parse_moment, stamp
from rpc_api import errors

#: Characters of a moment at most.
LONGEST = 64


class At(NamedTuple):
    """``places`` is cell -> Place, ``at_ns`` is the time; ``moment`` is None if the request asked for the present."""

    places: dict
    at_ns: int
    moment: Moment | None

    @property
    def is_now(self) -> bool:
        """Whether it is the present."""
        return self.moment is None

    def as_json(self) -> dict:
        """It as plain values."""
        return {"time": stamp(self.at_ns or None), "at_ns": str(self.at_ns), "is_now": self.is_now}


def at_of(cloud, text: str | None, now_ns: int) -> At:
    """Return the At of a text, by default of the present. PageError for another text, NotThere for a moment that the
    tapes do not have."""
    tapes = cloud.tapes
    if not text:
        places = {cell: place for cell, place in cloud.shown.places.items() if cell in tapes}
        return At(places, max((place.at_ns for place in places.values()), default=0), None)
    moment = _parsed(text, now_ns)
    if moment.at_ns is not None:
        return At(_all_until(tapes, moment.at_ns), moment.at_ns, moment)
    if moment.cell is None and type(moment.position) is str:
        places = {cell: getattr(tape, moment.position) for cell, tape in tapes.items()}
        return At(places, max((place.at_ns for place in places.values()), default=0), moment)
    cell = moment.cell or _only(tapes)
    if cell not in tapes:
        raise NotThere(f"there is no log of {cell!r} among {', '.join(sorted(tapes))}; name one of them")
    tape = tapes[cell]
    if type(moment.position) is int and moment.position > tape.last.position:
        raise _too_late(moment, tape.last.position)
    place = getattr(tape, moment.position) if type(moment.position) is str else tape.before(moment.position)
    if place is None:
        raise _too_early(cell, tape)
    others = _all_until({name: other for name, other in tapes.items() if name != cell}, place.at_ns)
    return At({**others, cell: place}, place.at_ns, moment)


def _parsed(text: str, now_ns: int) -> Moment:
    if len(text) > LONGEST:
        raise PageError(f"a moment has {LONGEST} characters at most, got {len(text)}; name a position or a time")
    try:
        return parse_moment(text, now_ns)
    except errors.UsageError as fault:
        raise PageError(str(fault)) from None


def _only(tapes):
    cells = [cell for cell in tapes if cell != "cell0"] or list(tapes)
    if len(cells) != 1:
        raise PageError(f"a position needs a cell, as there are {', '.join(sorted(tapes))}; write CELL:POSITION")
    return cells[0]


def _all_until(tapes, at_ns):
    found = {}
    for cell, tape in tapes.items():
        place = tape.until(at_ns)
        if place is None:
            raise _too_early(cell, tape)
        found[cell] = place
    return found


def _too_early(cell, tape):
    first = tape.first
    return NotThere(
        f"the page keeps the hosts of {cell} from position {first.position} on ({stamp(first.at_ns or None)}); "
        "nova-sched-replay state --at shows an earlier moment"
    )


def _too_late(moment, last):
    # (Who does not see the cells may name one, but is not told one.)
    log = "the log" if moment.cell is None else f"the log of {moment.cell}"
    if last < 0:
        return NotThere(f"{log} has no record yet, got position {moment.position}; ask for the present")
    return NotThere(f"{log} ends at position {last}, got {moment.position}; name an earlier position")
