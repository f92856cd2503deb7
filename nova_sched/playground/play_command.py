"""``nova-sched play``: the command."""

import argparse
import json
import time
from pathlib import Path

from cliff.command import Command

from nova_sched import weighers
from nova_sched.playground import numbers, workload
from nova_sched.playground.chains import CHAINS
from nova_sched.playground.logs import cell_log_url, masked
from nova_sched.playground.play import Cloud, Player, PlaySettings
from nova_sched.playground.report import write_all
from nova_sched.playground.scenario import CELL, play_scenario
from nova_sched.playground.scenario_file import read_scenario
from nova_sched.process.text import one_line
from nova_sched.selection.policy import Policy
from rpc_api import errors
from rpc_api.log import open_log
from rpc_api.wording import number_of

EPILOG = """\
examples:
  nova-sched play --generate 120,600 --out out/demo
  nova-sched play --servers servers.csv --racks racks.csv --requests requests_c1.csv --out out/c1
  nova-sched play --trace bernoulli_0.csv.gz --hosts 1000 --schedulers 4 --out out/azure
  nova-sched play --scenario docs/examples/shared-storage.yaml --out out/storage
  nova-sched play --generate 120,600 --log rabbit://guest:guest@localhost:5672/?stream=demo --out out/rabbit

input files: CSV with a header line, as programs, spreadsheets and cat write it (commas, semicolons or tabs; UTF-8 or
UTF-16, also with a byte order mark; gzip). A file may have several traces, each with its header line: Huawei traces are
played one after the other, Azure traces at the same time. An error names the file and the line.

files in --out: placements.csv (one row per request), summary.json (figures), fill.png (the hosts over time), and with
the default log also the logs: nova-sched-replay reads them.

their words: an instance is placed if a claim of it was accepted, and built if it runs. attempts is the number of builds
that were tried, retries the builds after the first. conflicts are claims of a scheduler that the log refused because
another came first; alternates_refused are such claims of a conductor. claim_ms is the time from a request to its
accepted claim, build_ms to its running instance. --seed fixes the instances, the groups and the failing builds. With
several schedulers or requests in flight the order of the log, and so the placement, differs from run to run.

exit codes: 0 played, 1 the audit found an over-commitment or a broken group, or a request of a scenario went where the
file does not say, 2 wrong usage, 3 broker or log unreachable
"""


def weigher(text):
    name, _, multiplier = text.partition("=")
    try:
        return name, float(multiplier or 1.0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=MULTIPLIER with a number") from None


class Play(Command):
    """Feed recorded requests through agents, logs, schedulers and conductors, and report the results."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        source = parser.add_argument_group("workload (one of: the three Huawei files, a trace, a generated one)")
        source.add_argument("--servers", metavar="FILE", help="servers with two NUMA nodes each (huawei-topology)")
        source.add_argument(
            "--racks",
            metavar="FILE",
            help="the rack of each server; without it no request that wants fault domains finds a host",
        )
        source.add_argument("--requests", metavar="FILE", help="requests in order of arrival")
        source.add_argument("--trace", metavar="FILE", help="arrivals and departures (azure-packing)")
        source.add_argument("--hosts", type=numbers.positive, metavar="N", help="hosts for --trace")
        source.add_argument(
            "--host-cores",
            type=numbers.positive,
            metavar="N",
            help="cores of a host for --trace (default: those of the largest instance)",
        )
        source.add_argument(
            "--host-ram",
            type=numbers.positive,
            metavar="N",
            help="RAM of a host for --trace (default: that of the largest instance)",
        )
        source.add_argument("--generate", metavar="HOSTS,REQUESTS", help="a generated cloud of the Huawei shape")
        source.add_argument(
            "--scenario",
            metavar="FILE",
            help="a small cloud with its requests and where they are to go (YAML: docs/examples); beside it only --log "
            "and --out count",
        )
        cloud = parser.add_argument_group("cloud")
        cloud.add_argument(
            "--log",
            metavar="URL",
            help="sqlite:///PATH, rabbit://USER:PASSWORD@HOST:PORT/VHOST?stream=NAME"
            " or memory://NAME (default: SQLite files in --out)",
        )
        cloud.add_argument(
            "--cells",
            type=numbers.positive,
            default=1,
            metavar="N",
            help="number of cells to split the hosts over (default: 1)",
        )
        cloud.add_argument("--schedulers", type=numbers.positive, default=1, metavar="N", help="active schedulers (1)")
        cloud.add_argument(
            "--fail",
            type=numbers.share,
            default=0.0,
            metavar="P",
            help="share of builds that fail, 0 to 1 (default: 0)",
        )
        cloud.add_argument(
            "--seed", type=int, default=0, metavar="N", help="the seed of all random choices (default: 0)"
        )
        cloud.add_argument("--rate", type=numbers.rate, metavar="N", help="requests per second (default: no limit)")
        cloud.add_argument(
            "--in-flight",
            type=numbers.positive,
            default=32,
            metavar="N",
            help="greatest number of requests in flight (default: 32)",
        )
        policy = parser.add_argument_group("policy")
        policy.add_argument(
            "--chain",
            choices=sorted(CHAINS),
            default="pack",
            help="weighers: nova (Nova's defaults, spreads), growth (the same, but affinity groups start "
            "where they can grow), pack (fills hosts, keeps room for groups) (default: pack)",
        )
        policy.add_argument(
            "--weigher",
            type=weigher,
            action="append",
            metavar="NAME=MULTIPLIER",
            help="weighers instead of a chain; known: " + ", ".join(weighers.BUILT_IN),
        )
        policy.add_argument(
            "--host-subset-size",
            type=numbers.positive,
            default=1,
            metavar="N",
            help="draw among this many best hosts (default: 1)",
        )
        policy.add_argument(
            "--max-attempts",
            type=numbers.positive,
            default=3,
            metavar="N",
            help="greatest number of builds per instance, including the first (default: 3)",
        )
        out = parser.add_argument_group("output")
        out.add_argument("--out", default="out", metavar="DIR", help="directory for the results (default: out)")
        out.add_argument("--no-picture", action="store_true", help="do not draw fill.png (it needs matplotlib)")
        return parser

    def take_action(self, arguments):
        if arguments.scenario and not _sources(arguments):
            return self._play_scenario(arguments)
        work = _workload(arguments)
        if not work.requests or not work.inventories:
            raise errors.UsageError(
                f"the workload has {number_of(len(work.inventories), 'host')} and {len(work.requests)} "
                "requests, wanted one or more of each; name other files"
            )
        for note in work.notes:
            self.app.stderr.write(f"nova-sched play: {one_line(note)}\n")
        out = _directory(arguments.out)
        settings = PlaySettings(
            log=arguments.log or f"sqlite:///{out}/log.db",
            policy=Policy(
                weighers=tuple(arguments.weigher or CHAINS[arguments.chain]),
                max_attempts=arguments.max_attempts,
                host_subset_size=arguments.host_subset_size,
            ),
            cells=arguments.cells,
            schedulers=arguments.schedulers,
            fail=arguments.fail,
            seed=arguments.seed,
            rate=arguments.rate,
            in_flight=arguments.in_flight,
            chain="own" if arguments.weigher else arguments.chain,
        )
        if settings.cells > len(work.inventories):
            raise errors.UsageError(
                f"{settings.cells} cells for {len(work.inventories)} hosts, wanted one cell per host at most; "
                "lower --cells"
            )
        picture = not arguments.no_picture
        figures = self._play(work, settings, out, picture)
        self._say(figures, out, picture)
        return 1 if figures["over_commitments"] or figures["group_breaches"] else 0

    def _play_scenario(self, arguments):
        scenario = read_scenario(arguments.scenario)
        out = _directory(arguments.out)
        with open_log(cell_log_url(arguments.log or f"sqlite:///{out}/log.db", CELL)) as log:
            played = play_scenario(scenario, log)
        (out / "summary.json").write_text(json.dumps({"logs": {CELL: masked(log.url)}}, indent=2) + "\n")
        for each in played:
            held = "; ".join(
                f"{provider} {' '.join(f'{name}={amount}' for name, amount in sorted(of.items()))}"
                for provider, of in sorted(each.allocations.items())
            )
            result = f"{each.host}: {held}" if each.host else f"no host: {each.none}"
            self.app.stdout.write(one_line(f"{each.request.name:<32} {result}") + "\n")
            if each.fault:
                self.app.stdout.write(one_line(f"{'':<32} not as in the file: {each.fault}") + "\n")
        faults = sum(bool(each.fault) for each in played)
        self.app.stdout.write(
            f"{number_of(len(played), 'request')}, {faults} not as in the file; see the log {log.url}\n"
        )
        return 1 if faults else 0

    def _play(self, work, settings, out, picture):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("starting", total=len(work.requests), note="")
            with Cloud(work, settings) as cloud:
                progress.update(bar, description="playing")
                player = Player(cloud, lambda result: progress.update(bar, advance=1, note=_note(player.counts)))
                started = time.monotonic()
                player.run()
                seconds = time.monotonic() - started
                urls = {cell.name: cell.log for cell in (cloud.cell0, *cloud.cells)}
                progress.update(bar, description="auditing")
                return write_all(out, settings, work, player, urls, seconds, picture)

    def _say(self, figures, out, picture):
        write = self.app.stdout.write
        write(
            f"{figures['built']} of {figures['requests']} built on {figures['hosts_used']} of "
            f"{number_of(figures['hosts'], 'host')} ({figures['placed']} placed), "
            f"{figures['no_valid_host']} refused: no valid host, "
            f"{figures['max_retries_exceeded']} not built: retries exceeded"
            + (
                f", {figures['service_unavailable']} failed: service unavailable"
                if figures["service_unavailable"]
                else ""
            )
            + "\n"
        )
        write(
            f"{figures['requests_per_s']} requests/s, decision {figures['decision_ms'].get('p50')} ms, "
            f"claim read back after {figures['claim_ms'].get('p50')} ms, built after "
            f"{figures['build_ms'].get('p50')} ms (medians)\n"
        )
        write(
            f"{number_of(figures['conflicts'], 'claim')} lost to another scheduler and decided again, "
            f"{number_of(figures['retries'], 'build')} retried on an alternate, "
            f"{number_of(figures['alternates_refused'], 'alternate')} found taken\n"
        )
        write(
            f"{figures['over_commitments']} over-commitments, {number_of(figures['group_breaches'], 'broken group')} "
            f"in {number_of(figures['events'], 'event')}\n"
        )
        write(f"see {out}/placements.csv, {out}/summary.json{f', {out}/fill.png' if picture else ''}\n")


def _note(counts):
    failed = counts["service_unavailable"]
    return f"{counts['built']} built, {counts['no_valid_host']} refused, {counts['max_retries_exceeded']} not built" + (
        f", {failed} failed" if failed else ""
    )


def _directory(name):
    """The directory for the results, which is made."""
    out = Path(name)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise errors.UsageError(f"{out} is a file, wanted a directory; name another --out") from None
    except OSError as fault:
        raise errors.UsageError(
            f"the directory {out} cannot be created ({fault.strerror}); name another --out"
        ) from None
    return out


def _sources(arguments):
    """How many workloads are named, without a scenario."""
    return sum(
        [
            bool(arguments.servers or arguments.racks or arguments.requests),
            bool(arguments.trace),
            bool(arguments.generate),
        ]
    )


def _workload(arguments):
    if _sources(arguments) != 1 or arguments.scenario:
        raise errors.UsageError(
            "name one workload: --servers with --racks and --requests, or --trace with --hosts, "
            "or --generate HOSTS,REQUESTS, or --scenario FILE"
        )
    if arguments.generate:
        try:
            hosts, requests = (int(part) for part in arguments.generate.split(","))
        except ValueError:
            hosts = requests = 0
        if hosts < 1 or requests < 1:
            raise errors.UsageError(f"--generate is {arguments.generate!r}, wanted HOSTS,REQUESTS, as in 120,600")
        return workload.generated(hosts, requests, arguments.seed)
    if arguments.trace:
        if not arguments.hosts:
            raise errors.UsageError("--trace needs --hosts N, the number of hosts to play it on")
        return workload.azure(
            arguments.trace, arguments.hosts, arguments.host_cores, arguments.host_ram, arguments.seed
        )
    if not (arguments.servers and arguments.requests):
        raise errors.UsageError("--servers and --requests go together; name both files")
    return workload.huawei(arguments.servers, arguments.racks, arguments.requests, arguments.seed)
