"""Whether the logs of a test keep the laws: nothing is claimed twice, no group is broken, the state is the same from a
snapshot, and each decision comes out the same when it is made again."""

from nova_sched.replay.state.history import History
from nova_sched.replay.verify.audit import Audit
from nova_sched.replay.verify.decisions import replay
from nova_sched.replay.verify.laws import fold_all


def breaches(logs, catalogue):
    """Sentences about what is wrong in some logs, cell -> EventLog; ``catalogue`` has the filters and weighers of their
    policies, None if no decision was made."""
    audit, found = Audit(), []
    history = History(logs)
    for cell in logs:
        folded = fold_all(history, cell, audit=audit)
        found += [*folded.breaches, *folded.gaps]
        if folded.counts["set-aside"]:
            found.append(f"{cell}: {folded.counts['set-aside']} events were set aside")
    if catalogue is not None:
        found += [
            f"{made.recorded.decision.instance_uuid}: {made.difference}"
            for made in replay(logs, catalogue)
            if not made.same
        ]
    return found
