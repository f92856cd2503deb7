"""What a shadow shows of itself: the facts of a report, samples for its metrics, and why it is not ready."""

from collections.abc import Iterator

from nova_sched.process.monitoring.families import Sample, counted, one_or_zero
from nova_sched.process.report import TIMEOUT, log_facts, projection_facts
from nova_sched.scheduler.shadow.compare import VERDICTS
from rpc_api.bus.copy_reader import READING


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


def samples_of(engine, sources) -> Iterator[Sample]:
    """The samples of a ShadowEngine, beside those of its logs; ``sources`` are its readers: "requests", or the name of
    the cell whose builds are read -> reader."""
    prefix = "nova_sched_shadow"
    comparisons = [(verdict, engine.counts[verdict]) for verdict in VERDICTS]
    yield from counted(f"{prefix}_comparisons_total", comparisons)
    yield Sample(f"{prefix}_waiting_instances", len(engine.waiting))
    for source, reader in sources.items():
        yield Sample(f"{prefix}_reading", one_or_zero(reader.state == READING), (source,))
        messages = [("used", reader.used), ("ignored", reader.ignored), ("unread", sum(list(reader.unread.values())))]
        yield from counted(f"{prefix}_messages_total", messages, source)
        yield Sample(f"{prefix}_losses_total", reader.drops, (source,))


def why_not_reading(sources) -> list[str]:
    """A sentence for each queue that is not read."""
    return [f"{reader.what}: {reader.state}" for reader in sources.values() if reader.state != READING]
