"""Why a request went where it went, and why a host was not chosen: the answers of the replay tool, as plain values."""

import threading
from contextlib import contextmanager

from nova_sched.page.answers import Busy, NotThere, PageError
from nova_sched.replay.decisions.explanation import asked_for, attempt_of, facts_of
from nova_sched.replay.decisions.ledger_history import as_json, found_by, past_of
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.decisions.recorded import find
from nova_sched.replay.decisions.why_not import answer_of
from nova_sched.replay.logs.moments import stamp
from nova_sched.replay.state.history import History
from rpc_api import errors
from rpc_api.wording import number_of

#: Explanations that are computed side by side, and that wait for it.
AT_ONCE, WAITING = 2, 8
WAIT_SECONDS = 10.0
#: Characters of an id or a name at most.
LONGEST = 255
#: How a request ended, as its own project may know it: without hosts.
ENDS = {
    "built": "the instance was built",
    "on-host": "the instance is on a host",
    "claimed": "a host was claimed for it, and the build has not started yet",
    "no-valid-host": "no valid host was found",
    "cells-unreachable": "a part of the cloud could not be reached, so no host was found",
    "refused": "the request failed",
    "retries-exhausted": "the builds failed, and no other host was left",
    "claim-refused": "the host was taken by another request",
    "claim-lost": "what happened then is not known",
    "given-back": "the claim was given back",
    "deleted": "the instance was built, and deleted since",
}
#: What of a request names hosts or cells: the project does not see it.
OF_OPERATORS = {
    "force_hosts": (),
    "force_nodes": (),
    "ignore_hosts": (),
    "target_host": None,
    "target_node": None,
    "target_cell": None,
    "preferred_cell": None,
}


class Explainer:
    """Answers questions about the requests in the logs of a Source; ``catalogue`` has the filters and weighers."""

    def __init__(self, source, catalogue, cache=None, store=None):
        self._source, self._catalogue = source, catalogue
        self._cache, self._store = cache, store
        self._turn = threading.Semaphore(AT_ONCE)
        self._room = threading.Semaphore(AT_ONCE + WAITING)

    def explain(self, key: str, attempt: int | None = None) -> dict:
        """Return ``decisions``: what ``nova-sched-replay explain -o json`` prints; and ``history`` of a consumer that
        no decision is about, as ``history -o json`` prints it."""
        with self._one():
            policies, history = PolicyBook(self._catalogue), self._history()
            try:
                by_instance = self._found(key, policies)
            except errors.UsageError:
                raise
            except errors.NovaSchedError as fault:
                return {"decisions": [], "history": self._past(history, key, fault)}
            found = [
                facts_of(history, policies, uuid, decisions, _of_attempt(decisions, attempt))
                for uuid, decisions in by_instance.items()
            ]
            return {"decisions": found, "history": []}

    def explain_to(self, project: str, key: str) -> dict:
        """Return what a project may know of its own request. NotThere for any other request, in the same words."""
        none = NotThere(f"your project has no request or instance {key[:LONGEST]!r}; name the whole id of another one")
        with self._one():
            policies, history = PolicyBook(self._catalogue), self._history()
            try:
                by_instance = self._found(key, policies)
            except errors.NovaSchedError:
                raise none from None
            found = []
            for uuid, decisions in by_instance.items():
                mine = [one for one in decisions if one.evidence and one.evidence.request.project_id == project]
                # (A key that is only the beginning of an id would say whether there are others.)
                if len(mine) == len(decisions) and key in (uuid, mine[0].decision.request_id):
                    found.append(_of_project(facts_of(history, policies, uuid, mine, mine[-1]), mine))
            if not found:
                raise none
            return {"decisions": found, "history": []}

    def why_not(self, key: str, host: str, attempt: int | None = None, instance: str | None = None) -> dict:
        """Return what ``nova-sched-replay why-not -o json`` prints."""
        _check(host, "the name of a host")
        with self._one():
            policies = PolicyBook(self._catalogue)
            by_instance = self._found(key, policies, ("DecisionMade", "DecisionCompared"))
            if instance is not None and instance not in by_instance:
                raise NotThere(f"the request has no instance {instance[:LONGEST]!r}; name one of its instances")
            if instance is None and len(by_instance) > 1:
                raise PageError(f"the request has {number_of(len(by_instance), 'instance')}; name the uuid of one")
            decisions = by_instance[instance or next(iter(by_instance))]
            return answer_of(self._history(), policies, _of_attempt(decisions, attempt), host).as_json()

    def _history(self):
        return History(self._source.logs, self._cache, self._store, folded=self._source.folded)

    def _found(self, key, policies, names=("DecisionMade",)):
        _check(key, "an id")
        by_instance = {}
        for recorded in find(self._source, key, policies, names):
            by_instance.setdefault(recorded.decision.instance_uuid, []).append(recorded)
        return by_instance

    def _past(self, history, key, fault):
        """The history of a consumer or provider that no decision is about; the fault of the search if there is none."""
        try:
            return [as_json(past_of(history, *found_by(history, key)))]
        except errors.NovaSchedError:
            raise fault from None

    @contextmanager
    def _one(self):
        busy = Busy("the page explains several requests already; try again in some seconds")
        if not self._room.acquire(blocking=False):
            raise busy
        try:
            if not self._turn.acquire(timeout=WAIT_SECONDS):
                raise busy
            try:
                yield
            finally:
                self._turn.release()
        finally:
            self._room.release()


def _check(text, what):
    if not 0 < len(text) <= LONGEST or not text.isprintable():
        raise PageError(f"{what} has 1 to {LONGEST} printable characters; check it")


def _of_attempt(decisions, attempt):
    if attempt is None:
        return decisions[-1]
    for recorded in decisions:
        if attempt_of(recorded.decision) == attempt:
            return recorded
    known = ", ".join(str(attempt_of(recorded.decision)) for recorded in decisions)
    raise NotThere(f"there is no attempt {attempt}, wanted one of {known}")


def _of_project(facts, decisions):
    code = facts["end"]["code"]
    last = decisions[-1].evidence
    return {
        "instance": facts["instance"],
        "request": facts["request"],
        "summary": ENDS.get(code, "how it ended is not known"),
        "asked": asked_for(last.request._replace(**OF_OPERATORS)),
        "attempts": [
            {
                "attempt": attempt_of(recorded.decision),
                "time": stamp(recorded.at_ns),
                "said": "a host was found" if recorded.is_selected else "no valid host was found",
            }
            for recorded in decisions
        ],
        "filters": [] if decisions[-1].is_selected else sorted({count.filter for count in last.refusals}),
        "end": {"code": code, "text": ENDS.get(code, "how it ended is not known")},
    }
