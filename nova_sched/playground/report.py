"""The files of a play in its output directory: placements.csv, summary.json and fill.png."""

import csv
import json
from collections import Counter
from pathlib import Path

from nova_sched.playground.logs import masked
from nova_sched.replay.verify.audit import Audit
from nova_sched.replay.what_if.measures import stranded
from rpc_api import errors, messages
from rpc_api.wording import number_of

COLUMNS = ("seq", "instance", "host", "providers", "attempts", "outcome", "reason")
FILL_SAMPLES = 240
MAX_PICTURE_ROWS = 400


def write_placements(path: Path, workload, results, audit: Audit) -> None:
    """Write one row per request in its final state. The reason is the operator's summary if the log has one."""
    names = {
        provider.uuid: provider.name for inventory in workload.inventories.values() for provider in inventory.providers
    }
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for seq in sorted(results):
            outcome = results[seq].outcome
            reason = outcome.reason
            if outcome.outcome == messages.NO_VALID_HOST:
                reason = audit.reasons.get(outcome.instance_uuid, reason)
            writer.writerow(
                (
                    seq,
                    outcome.instance_uuid,
                    outcome.host or "",
                    providers_text(outcome.allocations, names),
                    outcome.attempts,
                    outcome.outcome,
                    reason,
                )
            )


def providers_text(allocations, names) -> str:
    """``host-3_numa0=VCPU:4,MEMORY_MB:8192;host-3_numa1=...``, providers by name, VCPU first."""
    by_provider = {}
    for allocation in allocations:
        by_provider.setdefault(names.get(allocation.provider_uuid, allocation.provider_uuid), []).append(
            (allocation.resource_class, allocation.amount)
        )
    return ";".join(
        name
        + "="
        + ",".join(
            f"{resource_class}:{amount}"
            for resource_class, amount in sorted(held, key=lambda amount: (amount[0] != "VCPU", amount[0]))
        )
        for name, held in sorted(by_provider.items())
    )


def percentiles(values, scale=1.0) -> dict:
    """Return p50, p95, p99 and the maximum of durations in milliseconds (``scale`` is milliseconds per unit)."""
    if not values:
        return {}
    ordered = sorted(values)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * scale, 3)
        for name, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99), ("max", 1.0))
    }


def summary(settings, workload, player, audit: Audit, urls, seconds: float) -> dict:
    """Return the figures of a play; latencies in milliseconds."""
    results = player.results.values()
    built = [result for result in results if result.outcome.outcome == messages.BUILT]
    outcomes = Counter(result.outcome.outcome for result in results)
    return {
        "workload": workload.name,
        "logs": {cell: masked(url) for cell, url in urls.items()},
        "cells": settings.cells,
        "schedulers": settings.schedulers,
        "chain": settings.chain,
        "seed": settings.seed,
        "fail": settings.fail,
        "requests": len(results),
        "placed": len(audit.placed),
        "built": outcomes[messages.BUILT],
        "no_valid_host": outcomes[messages.NO_VALID_HOST],
        "max_retries_exceeded": outcomes[messages.MAX_RETRIES_EXCEEDED],
        "service_unavailable": outcomes[messages.SERVICE_UNAVAILABLE],
        "departed": player.counts["departed"],
        "seconds": round(seconds, 3),
        "requests_per_s": round(len(results) / seconds, 1) if seconds else None,
        "decisions": audit.counts["decisions"],
        "decisions_per_s": round(audit.counts["decisions"] / seconds, 1) if seconds else None,
        "decision_ms": percentiles(audit.decision_ns, 1e-6),
        "claim_ms": percentiles(player.cloud.claim_seconds, 1e3),
        "build_ms": percentiles([result.seconds for result in built], 1e3),
        "conflicts": audit.counts["conflicts"],
        "alternates_refused": audit.counts["alternates_refused"],
        "retries": sum(max(result.outcome.attempts - 1, 0) for result in results),
        "hosts": len(workload.inventories),
        "hosts_used": len({result.outcome.host for result in built}),
        "stranded": stranded_at_end(workload, audit),
        "events": audit.counts["events"],
        "set_aside": audit.counts["set_aside"],
        "divergences": audit.counts["divergences"],
        "over_commitments": sum(len(cell.over_commitments) for cell in audit.cells.values()),
        "group_breaches": sum(len(cell.group_breaches) for cell in audit.cells.values()),
        "policy_digest": settings.policy.digest,
    }


def stranded_at_end(workload, audit: Audit) -> dict:
    """Return what is stranded at the end (:func:`nova_sched.replay.what_if.measures.stranded`), with the least amount
    of each class over all requests."""
    shares = [share for request in workload.requests for share in request.shares]
    least = {"VCPU": min(share[0] for share in shares), "MEMORY_MB": min(share[1] for share in shares)}
    free, total = {}, Counter()
    for cell in audit.cells.values():
        for (provider, resource_class), capacity in cell.capacity.items():
            free.setdefault(provider, {})[resource_class] = capacity - cell.used[provider, resource_class]
            total[resource_class] += capacity
    return stranded(free, total, least)


class FillHistory:
    """The fill of every host over a log, sampled evenly over the changes of each cell."""

    def __init__(self, expected_changes: int):
        self.every = max(1, expected_changes // FILL_SAMPLES)
        self.samples = {}
        self._changes = Counter()

    def changed(self, cell, audit) -> None:
        """Note a change of what the consumers of a cell hold."""
        self._changes[cell] += 1
        if self._changes[cell] % self.every == 0:
            self.samples.setdefault(cell, []).append(self.fill(audit))

    @staticmethod
    def fill(audit) -> dict:
        """Return host -> used share of its VCPUs, 0 to 1."""
        filled = {}
        for host, providers in audit.providers.items():
            capacity = sum(audit.capacity.get((uuid, "VCPU"), 0) for uuid in providers)
            if capacity:
                filled[host] = sum(audit.used[uuid, "VCPU"] for uuid in providers) / capacity
        return filled


def draw_fill(path: Path, history: FillHistory, audit: Audit, title: str) -> None:
    """Draw hosts (fullest at the end on top) against time, and the mean fill of all hosts."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        raise errors.UsageError(
            "the picture needs matplotlib, which is not installed; "
            "pip install 'nova_sched[plot]', or play with --no-picture"
        ) from None
    import numpy

    columns = _columns(history, audit)
    matrix = numpy.array(columns).T
    matrix = matrix[numpy.argsort(-matrix[:, -1], kind="stable")]
    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(11, 8), height_ratios=(3, 1), sharex=True, layout="constrained"
    )
    shown = _squeezed(matrix)
    image = above.imshow(
        shown, aspect="auto", cmap="viridis", vmin=0, vmax=1, interpolation="nearest", extent=(0, 100, len(matrix), 0)
    )
    above.set_ylabel("hosts, fullest at the end first")
    above.set_title(title)
    figure.colorbar(image, ax=above, label="used share of a host's VCPUs")
    moments = numpy.linspace(0, 100, matrix.shape[1])
    below.plot(moments, 100 * matrix.mean(axis=0), label="VCPUs in use, mean of all hosts")
    below.plot(moments, 100 * (matrix > 0).mean(axis=0), label="hosts in use")
    below.set_ylim(0, 100)
    below.set_xlim(0, 100)
    below.set_xlabel("time: share of all placements and departures (%)")
    below.set_ylabel("share (%)")
    below.legend(loc="lower right")
    below.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _columns(history, audit):
    """Return the picture's data: one column per sample, with the fill of all hosts of all cells in one order. Cells are
    aligned by their own progress."""
    ends = {cell: [*history.samples.get(cell, []), history.fill(summed)] for cell, summed in audit.cells.items()}
    ends = {cell: samples for cell, samples in ends.items() if samples[-1]}
    longest = max(len(samples) for samples in ends.values())
    columns = []
    for number in range(longest):
        column = []
        for _cell, samples in sorted(ends.items()):
            sample = samples[min(len(samples) - 1, number * len(samples) // longest)]
            column.extend(sample.get(host, 0.0) for host in sorted(samples[-1]))
        columns.append(column)
    return columns


def _squeezed(matrix):
    """Return at most MAX_PICTURE_ROWS rows: means of neighbours."""
    import numpy

    if len(matrix) <= MAX_PICTURE_ROWS:
        return matrix
    return numpy.array([part.mean(axis=0) for part in numpy.array_split(matrix, MAX_PICTURE_ROWS)])


def write_all(out: Path, settings, workload, player, urls, seconds: float, picture: bool) -> dict:
    """Audit the logs, write the three files, and return the summary."""
    history = FillHistory(max(1, 2 * len(player.results) // max(1, settings.cells)))
    audit = Audit(history.changed)
    for cell, url in urls.items():
        audit.read(cell, url)
    write_placements(out / "placements.csv", workload, player.results, audit)
    figures = summary(settings, workload, player, audit, urls, seconds)
    (out / "summary.json").write_text(json.dumps(figures, indent=2) + "\n")
    if picture:
        draw_fill(
            out / "fill.png",
            history,
            audit,
            f"{workload.name}: {figures['built']} of {figures['requests']} built on "
            f"{figures['hosts_used']} of {number_of(figures['hosts'], 'host')}",
        )
    return figures
