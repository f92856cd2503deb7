"""Builds one instance on its claims, one after the other, until one of them runs.

A claim is only given back when it is certain that the instance does not and
will not run under it. When an agent does not answer, nobody knows; it is asked
to cancel, and where it does not confirm that, the claim stays and the build
ends: whatever becomes of it, the room is not given away twice.
"""

import logging
import threading
from concurrent.futures import Future
from typing import NamedTuple

from rpc_api import errors, events, messages
from rpc_api.agent import BUILD_TIMEOUT, CANCEL_TIMEOUT

LOG = logging.getLogger(__name__)

READ_BACK_TIMEOUT = 30.0


class Attempt(NamedTuple):
    """What came of a build on one host: ``certain`` is False where it may run all the same."""

    started: bool
    certain: bool
    reason: str


class Builder:
    """``server_of(host)`` says where the agent of a host answers; ``claims`` of its own come back by :meth:`settle`."""

    def __init__(self, producer, agents, server_of, build_timeout=BUILD_TIMEOUT, cancel_timeout=CANCEL_TIMEOUT,
                 read_back_timeout=READ_BACK_TIMEOUT):
        self._producer = producer
        self._agents = agents
        self._server_of = server_of
        self._build_timeout = build_timeout
        self._cancel_timeout = cancel_timeout
        self._read_back_timeout = read_back_timeout
        self._lock = threading.Lock()
        self._claims = {}
        self._building = set()

    def settle(self, outcomes) -> None:
        """Claims were folded: whoever waits for one of them goes on."""
        for outcome in outcomes:
            with self._lock:
                waiting = self._claims.pop(outcome.claim_uuid, None)
            if waiting is not None:
                waiting.set_result(outcome.reason)

    def building(self) -> set[str]:
        """Uuids of the claims that are being built."""
        with self._lock:
            return set(self._building)

    def build(self, context, build) -> messages.BuildOutcome:
        """Build an instance (a BuildRequest): its first claim holds, its others are claimed when they are needed."""
        attempts, reasons = 0, []
        for number, claim in enumerate(build.claims):
            last = number == len(build.claims) - 1
            refused = self._claim(claim) if number else None
            if refused is not None:
                reasons.append(f"{claim.host}: claim refused: {refused}")
                self._producer.publish(self._failure(build, claim, attempts, reasons[-1], last))
                continue
            attempts += 1
            attempt = self._build_on(context, claim)
            if attempt.started:
                return messages.BuildOutcome(build.instance_uuid, messages.BUILT, claim.host, claim.allocations,
                                             attempts, "")
            reasons.append(f"{claim.host}: {attempt.reason}")
            final = last or not attempt.certain or attempts == build.max_attempts
            released = (events.ClaimReleased(claim.consumer_uuid, claim.claim_uuid, attempt.reason),)
            self._producer.publish(*(released if attempt.certain else ()),
                                   self._failure(build, claim, attempts, attempt.reason, final))
            if final:
                break
        reason = f"Exhausted all hosts after {attempts} attempts: " + "; ".join(reasons)
        LOG.info("instance %s of %s is not built: %s", build.instance_uuid, build.request_id, reason)
        return messages.BuildOutcome(build.instance_uuid, messages.MAX_RETRIES_EXCEEDED, None, (), attempts, reason)

    @staticmethod
    def _failure(build, claim, attempts, reason, final):
        return events.BuildFailed(build.instance_uuid, build.request_id, claim.host, attempts, reason, final)

    def _claim(self, claim):
        """Claim an alternate on the cell's log; None when it is accepted, else why not."""
        waiting = Future()
        with self._lock:
            self._claims[claim.claim_uuid] = waiting
        self._producer.publish(claim)
        try:
            return waiting.result(self._read_back_timeout)
        except TimeoutError:
            with self._lock:
                self._claims.pop(claim.claim_uuid, None)
            # It stands behind the claim in the log, whenever the two get there.
            reason = f"it was not read back within {self._read_back_timeout} s"
            self._producer.publish(events.ClaimReleased(claim.consumer_uuid, claim.claim_uuid, reason))
            return reason

    def _build_on(self, context, claim) -> Attempt:
        server = self._server_of(claim.host)
        if server is None:
            return Attempt(False, True, "the host is not known in this cell")
        with self._lock:
            self._building.add(claim.claim_uuid)
        try:
            answer = self._agents.build_instance(context, server, claim, self._build_timeout)
            return Attempt(answer.started, True, answer.reason)
        except (errors.UsageError, errors.NoSuchServer) as fault:
            # It did not begin.
            return Attempt(False, True, str(fault))
        except errors.NovaSchedError as fault:
            return self._cancel(context, server, claim, fault)
        finally:
            with self._lock:
                self._building.discard(claim.claim_uuid)

    def _cancel(self, context, server, claim, fault) -> Attempt:
        LOG.warning("whether %s runs on %s is not known, its agent is asked to cancel: %s", claim.instance_uuid,
                    claim.host, fault)
        try:
            cancelled = self._agents.cancel_build(context, server, claim.host, claim.claim_uuid, claim.instance_uuid,
                                                  self._cancel_timeout)
        except errors.NovaSchedError as refused:
            LOG.warning("the agent of %s did not confirm that %s does not run: %s", claim.host, claim.instance_uuid,
                        refused)
            cancelled = False
        if cancelled:
            return Attempt(False, True, f"cancelled, as its agent gave no answer: {fault}")
        return Attempt(False, False, f"its agent gave no answer ({fault}) and did not confirm that the build is "
                                     "cancelled; the claim stays until it expires or the host reports")
