"""Why a host was not chosen for a request: what each filter answered, what caused a refusal, and the host's rank."""

import difflib
from typing import NamedTuple

from nova_sched.replay.decisions import verdicts
from nova_sched.replay.decisions.explanation import attempt_of
from nova_sched.replay.decisions.recorded import Recorded, Scene, scene
from rpc_api import errors
from rpc_api.wording import number_of


class Answer(NamedTuple):
    """What the filters answered for the host of a root row in the scene of a decision: ``found`` are Verdicts,
    ``causes`` is number of a refusal among them -> Cause or None, ``standing`` is the Standing of a host that passed,
    and ``open`` are names of filters that are not loaded and may have refused it."""

    recorded: Recorded
    scene: Scene
    row: int
    found: list
    causes: dict
    standing: verdicts.Standing | None
    open: tuple

    @property
    def refusals(self) -> list:
        """The Verdicts that refuse the host."""
        return [verdict for verdict in self.found if verdict.verdict == verdicts.REFUSE]

    def as_json(self) -> dict:
        """It as plain values."""
        decision = self.recorded.decision
        return {
            "host": self.scene.table.host_names[self.row],
            "instance": decision.instance_uuid,
            "request": decision.request_id,
            "attempt": attempt_of(decision),
            "cell": self.recorded.cell,
            "position": self.recorded.position,
            "refused": None if self.open else bool(self.refusals),
            "verdicts": verdicts_as_json(self.found, self.causes),
            "standing": self.standing and self.standing._asdict(),
        }


def answer_of(history, policies, recorded: Recorded, host: str) -> Answer:
    """The Answer about a host in a recorded decision. NovaSchedError if the scheduler knew no host of that name; see
    :func:`~nova_sched.replay.decisions.recorded.scene` for the other errors."""
    re_created = scene(history, recorded, policies)
    knew = f"at its decision at {recorded.cell} {recorded.position} the scheduler knew"
    row = row_named(re_created.table, host, knew)
    found = verdicts.of_host(history, re_created, row)
    refuses = any(verdict.verdict == verdicts.REFUSE for verdict in found)
    return Answer(
        recorded,
        re_created,
        row,
        found,
        causes_of(found),
        None if refuses else verdicts.standing(re_created, row),
        () if refuses or host in recorded.decision.hosts else re_created.silent_filters,
    )


def causes_of(found) -> dict:
    """Number -> Cause (None if no event is known) of the Verdicts that refuse a host."""
    return {number: each.finding.find() for number, each in enumerate(found) if each.verdict == verdicts.REFUSE}


def verdicts_as_json(found, causes=None) -> list[dict]:
    """Return the Verdicts of a host as plain values; ``causes`` as of :func:`causes_of` (None: they are looked for)."""
    if causes is None:
        causes = causes_of(found)
    return [
        {
            "filter": each.filter,
            "verdict": each.verdict,
            "reason": each.reason,
            "text": each.finding and each.finding.text,
            "values": each.finding and each.finding.values,
            "cause": causes[number]._asdict() if causes.get(number) else None,
        }
        for number, each in enumerate(found)
    ]


def row_named(table, name, knew: str):
    """Return the row of a host; NovaSchedError for a name that no host has, with those that are like it. ``knew`` says
    whose knowledge the table is."""
    if name in table.row_of_host:
        return table.row_of_host[name]
    near = difflib.get_close_matches(name, table.row_of_host, 5, 0.5)
    raise errors.NovaSchedError(
        f"{knew} no host {name!r}, of {number_of(len(table.row_of_host), 'host')}"
        + (f"; there are {', '.join(near)}" if near else "")
        + "; name another"
    )
