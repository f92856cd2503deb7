"""The facts of a shadow for its guru meditation report."""

from nova_sched.process.report import TIMEOUT, log_facts, projection_facts


def shadow_facts(scheduler, readers) -> dict:
    """Return the facts of a shadow and of its readers. The engine's part is read in the thread that owns the
    engine."""

    def of_engine(engine):
        return {
            "policy": engine.policy.digest,
            "instances that wait for Nova's choice": len(engine.waiting),
            "choices of Nova that count in memory": len(engine.memory),
            "counts": dict(sorted(engine.counts.items())),
            **{cell: projection_facts(projection) for cell, projection in engine.world.projections.items()},
        }

    facts = {"name": scheduler.name, "fault": str(scheduler.fault or "none")}
    for reader in readers:
        facts.update(reader.facts())
    facts.update(scheduler.call(of_engine).result(TIMEOUT / 2))
    for cell, log in scheduler.logs.items():
        facts[cell].update(log_facts(log, facts[cell]["position"]))
    return facts
