"""The facts of a scheduler for its guru meditation report."""

from nova_sched.process.report import TIMEOUT, log_facts, projection_facts


def scheduler_facts(scheduler) -> dict:
    """Return the facts of a scheduler. The engine's part is read in the thread that owns the engine."""

    def of_engine(engine):
        closed = [cell for cell, closed in engine.world.table.cell_closed.items() if closed]
        return {
            "policy": engine.policy.digest,
            "options of the policy": engine.policy.to_json(),
            "requests in flight": len(engine.open_asks()),
            "claims in flight": {cell: engine.claims.under_way_count(cell) for cell in engine.cells},
            "closed cells": ", ".join(closed) or "none",
            "counts": dict(sorted(engine.counts.items())),
            **{cell: projection_facts(projection) for cell, projection in engine.world.projections.items()},
        }

    said = {"name": scheduler.name, "fault": str(scheduler.fault or "none")}
    said.update(scheduler.call(of_engine).result(TIMEOUT / 2))
    for cell, log in scheduler.logs.items():
        said[cell].update(log_facts(log, said[cell]["position"]))
    return said
