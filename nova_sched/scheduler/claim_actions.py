"""The actions in the table of a claim's life, one function for each."""

import logging

from nova_sched.scheduler.asks import RefusalKind, kind_of, refusals_max
from nova_sched.scheduler.claim_life import Action
from nova_sched.scheduler.requests import NOT_ENOUGH_HOSTS
from rpc_api import errors, events, log_context

LOG = logging.getLogger(__name__)


def _nothing(engine, claim, instance, outcome):
    pass


def _answer(engine, claim, instance, outcome):
    instance.placed[0] = instance.placed[0]._replace(position=outcome.position)
    engine.requests.answer_if_complete(instance.ask)


def _decide(engine, claim, instance, outcome):
    engine.requests.decide_again(instance)


def _decide_after_refusal(engine, claim, instance, outcome):
    reason, kind, host = outcome.reason, kind_of(outcome.reason), claim.proposed.host
    requests, ask = engine.requests, instance.ask
    _count_refusal(engine, claim, instance, outcome)
    ask.refusals += 1
    if instance.setbacks.add(kind, host):
        instance.excluded = (*instance.excluded, host)
    with log_context.of(ask.context):
        LOG.debug("claim of %s on %s was refused at %d: %s", instance.uuid, host, outcome.position, reason)
    if kind is RefusalKind.MALFORMED:
        fault = errors.NovaSchedError(
            f"a claim of {instance.uuid} was refused as {reason}; it is a fault of this scheduler"
        )
    elif instance.setbacks.holds_already > 1:
        fault = errors.NoHostFound(NOT_ENOUGH_HOSTS, f"no host can fix it: {reason}")
    elif ask.refusals >= refusals_max(len(ask.instances)):
        fault = errors.NoHostFound(
            NOT_ENOUGH_HOSTS,
            f"{ask.refusals} claims of the request were refused, the last on {host} for {reason}; other requests took "
            "each host first, so ask again when there are fewer of them",
        )
    else:
        requests.decide_again(instance)
        return
    requests.fail(ask, fault)


def _decide_after_loss(engine, claim, instance, outcome):
    requests = engine.requests
    _count_loss(engine, claim, instance, outcome)
    instance.setbacks.lost += 1
    if instance.setbacks.lost == 1:
        requests.decide_again(instance)
    else:
        fault = f"claims of {instance.uuid} have no effect in the log of {claim.cell}; see its quarantine"
        requests.fail(instance.ask, errors.NovaSchedError(fault))


def _count_refusal(engine, claim, instance, outcome):
    engine.counts["conflicts"] += 1
    engine.measures.refused_by_log(outcome.reason)


def _count_loss(engine, claim, instance, outcome):
    engine.counts["lost"] += 1


def _release(engine, claim, instance, outcome):
    engine.outbox.post(claim.cell, _released(claim, "the request was refused as a whole"))


def _release_and_decide_elsewhere(engine, claim, instance, outcome):
    _release(engine, claim, instance, outcome)
    _count_refusal(engine, claim, instance, outcome)
    instance.excluded = (*instance.excluded, claim.proposed.host)
    engine.requests.decide_again(instance)


def _give_up(engine, claim, instance, outcome):
    engine.outbox.post(claim.cell, _released(claim, "given up"))


def _release_undelivered(engine, claim, instance, outcome):
    engine.outbox.post(claim.cell, _released(claim, "its caller is gone"))


def _release_after_rebase(engine, claim, instance, outcome):
    engine.claim_driver.after_rebase.append((claim.cell, _released(claim, "the log was rebased")))


def _decide_and_release_after_rebase(engine, claim, instance, outcome):
    _release_after_rebase(engine, claim, instance, outcome)
    engine.requests.decide_again(instance)


def _claim_again(engine, claim, instance, outcome):
    engine.outbox.post(claim.cell, claim.proposed)


def _report(engine, claim, instance, outcome):
    if kind_of(outcome.reason) is not RefusalKind.HOLDS_ALREADY:
        LOG.warning(
            "the claim of %s on %s was answered, is lost with the last records of the log of %s, and "
            "cannot be made again (%s); if its build succeeds there, the host has more than it should",
            claim.proposed.instance_uuid,
            claim.proposed.host,
            claim.cell,
            outcome.reason,
        )


def _released(claim, reason):
    return events.ClaimReleased(claim.proposed.consumer_uuid, claim.uuid, reason)


#: The function for each action, called with the Engine, the Claim, the instance that depended on it and the Outcome (or
#: None).
ACTIONS = {
    Action.NOTHING: _nothing,
    Action.ANSWER: _answer,
    Action.DECIDE: _decide,
    Action.DECIDE_AFTER_REFUSAL: _decide_after_refusal,
    Action.DECIDE_AFTER_LOSS: _decide_after_loss,
    Action.COUNT_REFUSAL: _count_refusal,
    Action.COUNT_LOSS: _count_loss,
    Action.RELEASE: _release,
    Action.RELEASE_AND_DECIDE_ELSEWHERE: _release_and_decide_elsewhere,
    Action.GIVE_UP: _give_up,
    Action.RELEASE_UNDELIVERED: _release_undelivered,
    Action.RELEASE_AFTER_REBASE: _release_after_rebase,
    Action.DECIDE_AND_RELEASE_AFTER_REBASE: _decide_and_release_after_rebase,
    Action.CLAIM_AGAIN: _claim_again,
    Action.REPORT: _report,
}
