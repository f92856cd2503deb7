"""``nova-sched-replay stats``: the numbers of a range of the logs."""

import json

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.durations import duration
from nova_sched.cli.intervals import add_intervals, intervals_of
from nova_sched.cli.numbers import Number
from nova_sched.cli.output import Rows, add_form, aligned, stamp
from nova_sched.cli.ranges import add_range, bounds_of
from nova_sched.process.text import one_line
from nova_sched.replay.state import hosts as statuses
from nova_sched.replay.statistics.totals import Stats as Counted
from nova_sched.replay.statistics.totals import gather
from rpc_api import errors
from rpc_api.clock import spelled
from rpc_api.wording import number_of

EPILOG = """\
RANGE is positions (100:200, cell1:100:, :200) or times after an @ (@-2h:-1h, @12:00..13:00). Without RANGE all records
count. Latency is the time from the arrival of a request at its scheduler to the decision. Build time is the time from a
claim to the start of its instance. Knowledge lag is the number of records between the position that a decision knew of
its cell's log and the decision's own position. Rates are computed from the times of the events.

exit codes: 0 shown, 2 wrong usage, 3 a log cannot be reached, 4 the state before the range is not known, so accepted
and refused claims could not be distinguished

examples:
  nova-sched-replay stats --log out/demo
  nova-sched-replay stats @-2h:-1h --log out/demo --interval 10s
  nova-sched-replay stats 10: --log cell1=sqlite:///out/demo/log.cell1.db -o json
"""
COLUMNS = (
    "time",
    "events",
    "decisions",
    "selected",
    "refused",
    "retried",
    "latency_p95_ms",
    "claims_accepted",
    "claims_refused",
    "writes_accepted",
    "writes_refused",
    "started",
    "failed",
)


class Stats(ReplayCommand):
    """Count events, decisions, refusals, claims and builds; show latencies, the busiest hosts and the silent ones."""

    EPILOG = EPILOG

    def add_arguments(self, parser):
        add_range(parser)
        parser.add_argument("--interval", metavar="TIME", help="show one row per interval of this length (10s, 5m)")
        add_intervals(parser)
        parser.add_argument(
            "--top", action=Number, default=10, help="number of reasons and hosts to show (default: 10)"
        )
        add_form(parser, ("table", "json"))

    def run_on(self, source, arguments):
        silence_ns = intervals_of(self, arguments).silent_ns
        stats = Counted(duration(arguments.interval, "--interval") if arguments.interval else None)
        first, last = bounds_of(self, source, arguments.range)
        with self.history(source, arguments) as history:
            hosts = gather(history, first, last, stats)
        for gap in stats.unknown.values():
            self.say(f"{self.app.NAME} stats: {gap}; claims there are not counted as accepted or refused")
        silent = stats.silent(hosts, silence_ns)
        if arguments.output == "json":
            self.out.write(json.dumps(self._facts(stats, silent, first, last, arguments.top), indent=2) + "\n")
        elif stats.interval_ns is not None:
            rows = Rows(self.out, "table", COLUMNS, COLUMNS[1:], self.paint)
            for row in _intervals(stats):
                rows.write(row)
            rows.end()
        else:
            self.out.write("".join(f"{one_line(line)}\n" for line in self._lines(stats, silent, silence_ns, arguments)))
        return errors.EXIT_GAP if stats.unknown else errors.EXIT_OK

    def _facts(self, stats, silent, first, last, top):
        whole, seconds = stats.all, stats.seconds()
        return {
            "cells": {cell: {"first": first[cell], "last": last[cell]} for cell in sorted(first)},
            "records": stats.records,
            "events": whole.events,
            "bytes": stats.bytes,
            "first": stamp(stats.first_ns),
            "last": stamp(stats.last_ns),
            "seconds": round(seconds, 3),
            "events_per_s": _rate(whole.events, seconds),
            "decisions_per_s": _rate(whole.decisions, seconds),
            **{
                f"by_{name}": {key: {"events": count, "bytes": size} for key, (count, size) in sorted(counted.items())}
                for name, counted in (("type", stats.by_type), ("cell", stats.by_cell), ("role", stats.by_role))
            },
            "decisions": {
                "made": whole.decisions,
                "selected": whole.selected,
                "refused": whole.refused,
                "retried": whole.retried,
                "cells_unreachable": stats.unreachable,
                "requests_refused_without": stats.turned_away,
                "latency_ms": whole.latency.facts(1e6),
                "knowledge_lag_records": stats.knowledge_lag.facts(),
            },
            "refusals": [
                {"reason": reason, "decisions": count, "hosts": stats.reason_hosts[reason]}
                for reason, count in _most(stats.reasons, top)
            ],
            "claims": {
                "accepted": whole.claims_accepted,
                "refused": whole.claims_refused,
                "not_known_in": sorted(stats.unknown),
            },
            "writes": {
                "accepted": whole.writes_accepted,
                "refused": whole.writes_refused,
                "reasons": [{"reason": reason, "writes": count} for reason, count in _most(stats.write_reasons, top)],
            },
            "builds": {
                "started": whole.started,
                "failed": whole.failed,
                "failed_for_good": stats.final_failures,
                "time_ms": stats.build_time.facts(1e6),
            },
            "on_hosts_of_nova": {"came": stats.came, "gone": stats.gone},
            "busiest_hosts": [
                {"cell": cell, "host": host, "events": count} for (cell, host), count in _most(stats.busy, top)
            ],
            "busiest_providers_of_no_host": [
                {"cell": cell, "provider": name, "events": count}
                for (cell, name), count in _most(stats.busy_others, top)
            ],
            "hosts": dict(stats.host_counts),
            "silent_hosts": [{"cell": cell, "host": host, "heard": stamp(heard)} for cell, host, heard in silent],
            "intervals": list(_intervals(stats)),
        }

    def _lines(self, stats, silent, silence_ns, arguments):
        whole, seconds, top = stats.all, stats.seconds(), arguments.top
        yield (
            f"{number_of(whole.events, 'event')} in {number_of(stats.records, 'record')}, "
            f"{number_of(stats.bytes, 'byte')}, {stamp(stats.first_ns)} to {stamp(stats.last_ns)} ({seconds:.1f} s)"
        )
        if not whole.events:
            return
        if seconds:
            yield f"{_rate(whole.events, seconds):,.1f} events/s, {_rate(whole.decisions, seconds):,.1f} decisions/s"
        for title, counted in (("type", stats.by_type), ("cell", stats.by_cell), ("producer", stats.by_role)):
            yield ""
            yield from aligned(
                (title, "events", "bytes"),
                [(key, *counts) for key, counts in sorted(counted.items(), key=lambda item: (-item[1][0], item[0]))],
                ("events", "bytes"),
            )
        yield ""
        yield (
            f"decisions   {whole.decisions}: {whole.selected} selected, {whole.refused} refused, "
            f"{whole.retried} of them retries"
        )
        if stats.unreachable:
            yield f"            {stats.unreachable} of the refused ones because a cell could not be reached"
        if stats.turned_away:
            yield (f"requests    {stats.turned_away} refused without a decision (see tail --type RequestRefused)")
        yield f"claims      {whole.claims_accepted} accepted, {whole.claims_refused} refused"
        if whole.writes_accepted or whole.writes_refused:
            yield f"writes      {whole.writes_accepted} accepted, {whole.writes_refused} refused"
        yield f"builds      {whole.started} started, {whole.failed} failed, {stats.final_failures} of them for good"
        if stats.came or stats.gone:
            yield f"nova        {number_of(stats.came, 'instance')} came to its hosts, {stats.gone} went"
        timings = [
            ("decision ms", whole.latency.facts(1e6)),
            ("build ms", stats.build_time.facts(1e6)),
            ("knowledge lag records", stats.knowledge_lag.facts()),
        ]
        timings = [(name, *(f"{value:g}" for value in facts.values())) for name, facts in timings if facts["count"]]
        if timings:
            yield ""
            yield from aligned(
                ("of", "count", "p50", "p95", "p99", "max"), timings, ("count", "p50", "p95", "p99", "max")
            )
        if stats.reasons:
            yield ""
            yield from aligned(
                ("refused for", "decisions", "hosts"),
                [(reason, count, stats.reason_hosts[reason]) for reason, count in _most(stats.reasons, top)],
                ("decisions", "hosts"),
            )
        if stats.write_reasons:
            yield ""
            yield from aligned(("write refused for", "writes"), _most(stats.write_reasons, top), ("writes",))
        if stats.busy:
            yield ""
            yield from aligned(
                ("busiest host", "cell", "claims, starts, deletes, writes"),
                [(host, cell, count) for (cell, host), count in _most(stats.busy, top)],
                ("claims, starts, deletes, writes",),
            )
        if stats.busy_others:
            yield ""
            yield from aligned(
                ("busiest provider of no host", "cell", "claims, writes"),
                [(name, cell, count) for (cell, name), count in _most(stats.busy_others, top)],
                ("claims, writes",),
            )
        yield ""
        yield f"{statuses.counted(stats.host_counts)} at the end" + (
            f"; the agents of {len(silent)} published nothing for {spelled(silence_ns / 1e9)}" if silent else ""
        )
        yield from (
            f"  {host} in {cell}, last event {'before the range' if heard is None else stamp(heard)}"
            for cell, host, heard in silent[:top]
        )
        yield from (f"{cell}: {summary}" for cell, summary in sorted(stats.summaries.items()) if summary is not None)


def _most(counter, top):
    return sorted(counter.items(), key=lambda item: (-item[1], item[0]))[: max(0, top)]


def _rate(count, seconds):
    return round(count / seconds, 2) if seconds else None


def _intervals(stats):
    for start, interval in sorted(stats.intervals.items()):
        p95 = interval.latency.facts(1e6)["p95"]
        yield {
            "time": stamp(start),
            "latency_p95_ms": p95,
            **{name: getattr(interval, name) for name in COLUMNS if name not in ("time", "latency_p95_ms")},
        }
