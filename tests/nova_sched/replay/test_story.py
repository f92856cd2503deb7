from types import SimpleNamespace as Data

from nova_sched.projection.claim_refusals import OLDER_LEVEL
from nova_sched.replay.decisions import endings, story


def test_an_alternate_that_was_taken_is_no_failed_build():
    """Nothing was tried on the host of a refused claim: nobody need look at it."""
    steps, fates = [], {}
    for at_ns, (host, verdict) in enumerate((("a", story.ACCEPTED), ("b", story.REFUSED), ("c", story.ACCEPTED))):
        claim = story.Step("cell1", at_ns, at_ns, "conductor/cell1", "ClaimProposed", Data(claim_uuid=host, host=host))
        failure = Data(host=host, reason="it failed", final=host == "c")
        fates[host] = story.ClaimFate(claim, verdict, None, [])
        steps += [claim, story.Step("cell1", at_ns, at_ns, "conductor/cell1", "BuildFailed", failure)]
    assert story.failed_hosts(steps, fates) == (["a", "c"], ["b"])
    decisions = [Data(at_ns=0, is_selected=True, decision=Data(claim_uuid="a", hosts=["a", "b", "c"]))]
    assert endings.ending(decisions, steps, fates) == (
        "retries-exhausted",
        "2 builds failed and 1 alternate was taken, the last on c: it failed; no alternate was left",
    )


def test_claims_of_a_service_that_does_not_know_the_level():
    claims = [
        story.Step("cell1", at, at, "scheduler/old", "ClaimProposed", Data(claim_uuid=host, host=host))
        for at, host in enumerate(("a", "b", "c"))
    ]
    reasons = {"a": str(OLDER_LEVEL), "b": "VCPU", "c": None}
    fates = {
        host: story.ClaimFate(claim, story.REFUSED, reasons[host], [])
        for host, claim in zip(reasons, claims, strict=True)
    }
    assert story.refused_as_older(claims, fates) == ["a"]
