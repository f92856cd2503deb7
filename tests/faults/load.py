"""A cloud of real service processes under a steady load, and the audit of what a fault left of it.

A test reads: start a cloud, start a load, a fault, heal, audit:

    with under_load("a node is killed", tmp_path, rabbit.url(), rabbit.url) as (cloud, load):
        with load.fault():
            rabbit.kill()
            rabbit.start()
    assert load.wrong == []
"""

import itertools
import os
import re
import signal
import threading
import time
import uuid
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from oslo_config import cfg

from nova_sched.projection.digest import state_digest
from nova_sched.projection.ledger import CLAIMED
from nova_sched.projection.projection import Projection
from nova_sched.replay.logs.reading import records_of
from nova_sched.replay.verify.audit import Audit
from rpc_api import codec, errors, events, messages
from rpc_api.bus import MessagingBus
from rpc_api.codec import Event
from rpc_api.contracts.conductor import ConductorAPI
from rpc_api.contracts.scheduler import SchedulerAPI
from rpc_api.contracts.selections import claims_of
from rpc_api.log import open_log
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects.context import RequestContext
from tests.builders import request_spec
from tests.end_to_end.processes import PRESENT, Release, ServiceProcess, config_text, sections_for
from tests.servers import ServerFailed, wait_until

CELL0 = "cell0"
#: The load gives up a call after so many seconds without a heartbeat.
RESPONSE_TIMEOUT = 20
#: Longer than any of the services' own times: who has not answered by then hangs.
HANG_SECONDS = 120.0
#: The load gives up a call to an API conductor after this: no heartbeat shows whether the conductor was killed.
BUILD_TIMEOUT = 15
#: How often a service of an older release is started again.
RESTARTS = 3
SELECTED, NO_VALID_HOST, NOT_BUILT = "selected", "no valid host", "not built"


# --- the cloud ---------------------------------------------------------------------------------------------------


class Cloud:
    """Schedulers, conductors of the API level, and for each cell its conductors and one agent, each a process of its
    own; a context manager.

    ``transport_url`` is the RPC broker's; ``log_url(name)`` gives the log URL of ``cell0`` and of each cell, so that
    logs and RPC may be on different brokers, and ``cell_transport_urls`` those of cells that have a message queue of
    their own. ``vcpus`` are those of one host: an instance of the load takes one.
    ``heartbeat_seconds`` is oslo.messaging's heartbeat_timeout_threshold, of the load too. ``changes`` are further
    sections of the configuration, as :func:`tests.end_to_end.processes.sections_for` takes them. ``releases`` is the
    Release that each process runs, by its name; one that is not in it runs the present one.
    """

    def __init__(
        self,
        directory: Path,
        transport_url: str,
        log_url,
        cells=("cell1",),
        schedulers: int = 2,
        conductors: int = 1,
        hosts: int = 20,
        vcpus: int = 64,
        heartbeat_seconds: int = 60,
        api_conductors: int = 0,
        cell_transport_urls=None,
        releases: dict[str, Release] | None = None,
        **changes,
    ):
        self.releases = releases or {}
        self.transport_url = transport_url
        self._cell_transport_urls = cell_transport_urls or {}
        self.heartbeat_seconds = heartbeat_seconds
        self.logs = {name: log_url(name) for name in (CELL0, *cells)}
        self.cells = cells
        self._directory = directory
        self._options = {"hosts": hosts, "vcpus": vcpus, "changes": changes}
        #: Name of a process -> (service, further arguments, the cells whose logs it folds).
        self._commands = {
            f"scheduler-{number}": ("scheduler", (), tuple(self.logs)) for number in range(1, schedulers + 1)
        }
        self._commands |= {
            f"api-{number}": ("conductor", ("--level", "api"), ()) for number in range(1, api_conductors + 1)
        }
        for cell in cells:
            for number in range(1, conductors + 1):
                self._commands[f"conductor-{number}.{cell}"] = (
                    "conductor",
                    ("--level", "cell", "--cell", cell),
                    (cell,),
                )
            self._commands[f"agent.{cell}"] = ("agent", (), ())
        #: The processes that run, by name.
        self.running: dict[str, ServiceProcess] = {}

    def __enter__(self):
        try:
            self.start(*self.names)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc):
        for process in self.running.values():
            process.__exit__()

    def start(self, *names: str) -> None:
        """Start processes and wait until they are ready; one that ran before comes back under its name."""
        self.begin(*names)
        self.wait_ready()

    def begin(self, *names: str) -> None:
        """The same without the waiting."""
        for name in names:
            service, args, _ = self._commands[name]
            path = self._directory / f"{name}.conf"
            path.write_text(config_text(self._sections(name)))
            self.running[name] = ServiceProcess(
                self._directory, service, "--config-file", str(path), *args, release=self.releases.get(name, PRESENT)
            )

    def wait_ready(self) -> None:
        """Wait until all that run are ready.

        A service of an older release may end with 3 where the broker is slow to answer; as its operator would, the
        test starts it again.
        """
        for name in list(self.running):
            restarts = RESTARTS if self.releases.get(name, PRESENT) is not PRESENT else 0
            while True:
                process = self.running[name]
                try:
                    process.wait_ready()
                    break
                except AssertionError:
                    if not restarts or process.process.poll() != errors.EXIT_UNREACHABLE:
                        raise
                    restarts -= 1
                    process.__exit__()
                    self.begin(name)

    @property
    def names(self) -> list[str]:
        """Names of all its processes, those too that do not run now."""
        return list(self._commands)

    def kill(self, name: str) -> None:
        """End a process with SIGKILL."""
        self.running.pop(name).__exit__()

    def stop(self, *names: str) -> None:
        """End processes in good order."""
        for name in names:
            assert self.running[name].stop() == 0, self.running[name].stderr
            self.running.pop(name).__exit__()

    def freeze(self, name: str) -> None:
        """Let a process hang (SIGSTOP)."""
        self.running[name].send(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it go on."""
        self.running[name].send(signal.SIGCONT)

    def said(self, pattern: str) -> list[str]:
        """The lines that match a pattern, of all that the running processes have logged."""
        return [
            line
            for process in self.running.values()
            for line in process.stderr.splitlines()
            if re.search(pattern, line)
        ]

    def folders(self) -> dict[str, tuple[str, ...]]:
        """Names of the running processes that fold logs, and of which cells."""
        return {name: folded for name, (_, _, folded) in self._commands.items() if folded and name in self.running}

    def _sections(self, name):
        own = name.replace(".", "-")
        cell = name.partition(".")[2] or self.cells[0]
        sections = {
            "DEFAULT": {"transport_url": self.transport_url},
            "oslo_messaging_rabbit": {"heartbeat_timeout_threshold": self.heartbeat_seconds},
            "cells": {"cell0_log": self.logs[CELL0], "enabled": ",".join(self.cells)},
            "scheduler": {"name": own},
            # Claims of requests that nobody builds expire soon, so that room comes back.
            "conductor": {"name": own, "claim_ttl": 20, "build_timeout": 10, "cancel_timeout": 5},
            "compute_agent": {
                "cell": cell,
                "host": own,
                "report_interval": 1,
                "simulated_hosts": self._options["hosts"],
                "simulated_vcpus": self._options["vcpus"],
                "simulated_memory_mb": 2**20,
                "simulated_disk_gb": 2**20,
            },
            **{
                f"cell_{one}": {
                    "log": self.logs[one],
                    "uuid": str(uuid.uuid5(uuid.NAMESPACE_DNS, one)),
                    "transport_url": self._cell_transport_urls.get(one),
                }
                for one in self.cells
            },
        }
        for section, options in self._options["changes"].items():
            sections[section] = {**sections.get(section, {}), **options}
        return sections_for(self._directory, **sections)

    # --- how far they are ----------------------------------------------------------------------------------------

    def states(self) -> dict[tuple[str, str], tuple[int, str]]:
        """(process, cell) -> (position, digest) of all that fold logs, as they report it themselves."""
        return {
            (name, cell): state
            for name, cells in self.folders().items()
            for cell, state in states_of(self.running[name].guru_report(), cells).items()
        }

    def wait_folded(self) -> dict[tuple[str, str], tuple[int, str]]:
        """Wait until all have folded what the logs hold now; returns their states."""
        ends = {cell: self._last(url) for cell, url in self.logs.items()}
        wanted = {(name, cell) for name, cells in self.folders().items() for cell in cells}
        states = {}

        def folded():
            states.update(self.states())
            return (
                states.keys() == wanted  # one that is busy may give no answer
                and all(position >= ends[cell] for (_, cell), (position, _) in states.items())
            )

        try:
            wait_until(folded, HANG_SECONDS, f"not all have folded the logs up to {ends}")
        except ServerFailed as failed:
            raise ServerFailed(f"{failed}: {states}") from None
        return states

    def _last(self, url):
        def look():
            try:
                with open_log(url, create=False) as log:
                    return (log.bounds().last,)
            except errors.LogUnavailable:
                return None

        return wait_until(look, HANG_SECONDS, f"the log {url.rpartition('@')[2]} cannot be read")[0]


def states_of(report: str, cells) -> dict[str, tuple[int, str]]:
    """Cell -> (position, digest) in the text of a Guru Meditation Report."""
    found = re.findall(r"^ *digest = (\w+)$(?:\n.*?)*?^ *position = (-?\d+)$", report, re.MULTILINE)
    names = re.findall(rf"^ *({'|'.join(map(re.escape, cells))}) =", report, re.MULTILINE) if len(cells) > 1 else cells
    return {name: (int(position), digest) for name, (digest, position) in zip(names, found, strict=False)}


# --- the load ----------------------------------------------------------------------------------------------------


class Request(NamedTuple):
    """One request and its result: ``outcome`` is SELECTED (for a build: it runs), NO_VALID_HOST, NOT_BUILT (no
    host was left) or the name of an error with its text in ``fault``. A build's answer has no claim.
    Times are monotonic seconds."""

    instance_uuid: str
    asked_at: float
    answered_at: float
    outcome: str
    fault: str = ""
    cell: str | None = None
    host: str | None = None
    claim_uuid: str | None = None
    position: int | None = None


class Load:
    """Asks for hosts ``rate`` times a second, with at most ``in_flight_max`` requests under way; a context manager.

    With ``builds`` it asks the API conductors to build on them too. What would be more than that under way is not
    asked, and counted in ``held_back``.
    """

    def __init__(self, cloud: Cloud, rate: float = 40.0, in_flight_max: int = 64, builds: bool = False):
        self.requests: list[Request] = []
        self.held_back = 0
        self.started_at = self.stopped_at = 0.0
        #: (when the fault began, when it was healed), if there was one.
        self.faulty: tuple[float, float] | None = None
        #: What an audit found wrong, a sentence each; None until there was one.
        self.wrong: list[str] | None = None
        self._period = 1 / rate
        self._lock = threading.Lock()
        self._asked: dict[str, float] = {}
        self._in_flight_max = in_flight_max
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        if not cfg.CONF._args:
            cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
        with ExitStack() as stack:
            self._bus = MessagingBus(cfg.CONF, cloud.transport_url, threads=in_flight_max)
            stack.callback(self._bus.close)
            SchedulerAPI(self._bus)  # registers the first of these, as the bus did the second
            for group, name, value in (
                (None, "rpc_response_timeout", RESPONSE_TIMEOUT),
                ("oslo_messaging_rabbit", "heartbeat_timeout_threshold", cloud.heartbeat_seconds),
            ):
                cfg.CONF.set_override(name, value, group)
                stack.callback(cfg.CONF.clear_override, name, group)
            self._scheduler = SchedulerAPI(self._bus)
            self.builds = builds
            self._conductor = ConductorAPI(self._bus, timeout=BUILD_TIMEOUT) if builds else None
            self._stack = stack.pop_all()

    def __enter__(self):
        self.started_at = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join(HANG_SECONDS)
        self._stack.close()

    @contextmanager
    def fault(self):
        """What is done inside is the fault; its end is when it was healed."""
        began = time.monotonic()
        yield
        self.faulty = (began, time.monotonic())

    @property
    def selected(self) -> int:
        """How many requests have been answered with a host."""
        return sum(request.outcome == SELECTED for request in list(self.requests))

    def wait_selected(self, count: int) -> None:
        """Wait until so many more requests have been answered with a host."""
        wanted = self.selected + count
        wait_until(lambda: self.selected >= wanted, HANG_SECONDS, f"{self.selected} of {wanted} selections were made")

    def wait_asked(self, count: int) -> None:
        """Wait until so many more requests were made, or held back."""

        def made():
            return len(self.requests) + len(self._asked) + self.held_back

        wanted = made() + count
        wait_until(lambda: made() >= wanted, HANG_SECONDS, "the load does not go on")

    def stop(self) -> None:
        """Ask no more, and wait until all that was asked has its answer or error; what has none hangs."""
        self._stop.set()
        self._thread.join(HANG_SECONDS)
        self.stopped_at = time.monotonic()
        wait_until(lambda: not self._asked, HANG_SECONDS, f"{len(self._asked)} requests have neither answer nor error")

    def _run(self):
        next_at = time.monotonic()
        while not self._stop.wait(max(0.0, next_at - time.monotonic())):
            # What was missed while this machine was busy is not made good in a burst.
            next_at = max(next_at + self._period, time.monotonic() - 1.0)
            if len(self._asked) >= self._in_flight_max:
                self.held_back += 1
            else:
                self._ask()

    def _ask(self):
        one = str(uuid.uuid4())
        context = RequestContext.from_dict(
            {"request_id": f"req-{one}", "project_id": "p", "user_id": "u", "is_admin": True}
        )
        with self._lock:
            asked_at = self._asked[one] = time.monotonic()
        asks = self._conductor.schedule_and_build_instances if self._conductor else self._scheduler.select_destinations
        asked = asks(context, request_spec(one, vcpus=1), [one])
        asked.add_done_callback(lambda done: self._answered(one, asked_at, done))

    def _answered(self, one, asked_at, done):
        fault, now = done.exception(), time.monotonic()
        if fault is None and self._conductor:
            (outcome,) = done.result()
            kind = {
                messages.BUILT: SELECTED,
                messages.NO_VALID_HOST: NO_VALID_HOST,
                messages.SERVICE_UNAVAILABLE: "ServiceUnavailable",
            }.get(outcome.outcome, NOT_BUILT)
            request = Request(one, asked_at, now, kind, outcome.reason, host=outcome.host)
        elif fault is None:
            cell, claims, position = claims_of(done.result()[0], one, "", None, lambda: "")
            request = Request(one, asked_at, now, SELECTED, "", cell, claims[0].host, claims[0].claim_uuid, position)
        elif isinstance(fault, NoValidHost):
            request = Request(one, asked_at, now, NO_VALID_HOST)
        else:
            request = Request(one, asked_at, now, type(fault).__name__, str(fault))
        with self._lock:
            del self._asked[one]
            self.requests.append(request)


# --- the audit ---------------------------------------------------------------------------------------------------


@dataclass
class Findings:
    """What a cloud and its load came to. The lists are sentences, and empty when all is sound.

    ``rates`` are selections a second before, during and after the fault; the longest gap is the time without one.
    """

    selected: int
    no_valid_host: int
    errors: Counter
    held_back: int
    rates: tuple[float, float, float]
    longest_gap_seconds: float
    #: From when it was healed to the next selection; None without a fault.
    recovery_seconds: float | None
    #: Acknowledged and not accepted in the log where the answer says.
    lost: list = field(default_factory=list)
    #: Accepted twice, or for one instance twice at one time.
    double_bookings: list = field(default_factory=list)
    over_commitments: list = field(default_factory=list)
    group_breaches: list = field(default_factory=list)
    #: Processes that do not have the state that a fresh fold has at their position.
    diverged: list = field(default_factory=list)
    #: Accepted claims that no request was answered with and under which nothing was started: released, or to expire.
    orphans: int = 0

    def wrong(self) -> list[str]:
        """What was lost, booked twice, over-committed, broken or diverged, a sentence each; empty when all is sound."""
        found = {
            name: getattr(self, name)
            for name in ("lost", "double_bookings", "over_commitments", "group_breaches", "diverged")
        }
        said = [f"{len(ones)} {name}, the first ones: {ones[:3]}" for name, ones in found.items() if ones]
        return said if self.selected else [*said, "the load had no selection"]

    def row(self, what: str) -> str:
        """A row of the table in docs/reliability/README.md; its last column is the test that made it."""
        rates = ", ".join(f"{rate:.1f}" for rate in self.rates)
        kinds = Counter({NO_VALID_HOST: self.no_valid_host}) + self.errors
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
        recovery = "" if self.recovery_seconds is None else f"{self.recovery_seconds:.1f} s"
        wrong = f"{len(self.lost)}, {len(self.double_bookings) + len(self.over_commitments)}, {len(self.diverged)}"
        test = os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0].rpartition("/")[2]
        return (
            f"| {what} | {self.selected} | {rates} | {self.longest_gap_seconds:.1f} s | {recovery} | {kinds} | "
            f"{self.orphans} | {wrong} | `{test}` |"
        )


def audit(cloud: Cloud, load: Load, taps=None) -> Findings:
    """Audit the logs, the answers and the processes; ``load`` was stopped. ``taps`` are those of logs (cell -> Tap)
    that do not hold all of their records any more."""
    states = cloud.wait_folded()
    findings = _figures(load)
    arithmetic, folds = Audit(), {}
    for cell, url in cloud.logs.items():
        positions = {position for (_, of), (position, _) in states.items() if of == cell}
        tap = (taps or {}).get(cell)
        if tap is not None:
            tap.wait_for(max(positions))
        records = list(tap.records if tap is not None else records_of(url))
        arithmetic.fold(cell, records)
        folds[cell] = _Fold(cell, records, positions)
    for one in arithmetic.cells.values():
        findings.over_commitments += one.over_commitments
        findings.group_breaches += one.group_breaches
    for (name, cell), (position, digest) in states.items():
        wanted = folds[cell].digests.get(position)
        if digest != wanted:
            findings.diverged.append(f"{name} has {digest} of {cell} at {position}, a fresh fold has {wanted}")
    _check_claims(findings, load, folds)
    return findings


def _figures(load):
    answers = sorted(request.answered_at for request in load.requests if request.outcome == SELECTED)
    began, healed = load.faulty or (load.stopped_at, load.stopped_at)
    moments = [load.started_at, *(answer for answer in answers if answer <= load.stopped_at), load.stopped_at]
    after = next((answer for answer in answers if answer >= healed), None)
    outcomes = Counter(request.outcome for request in load.requests)
    return Findings(
        outcomes.pop(SELECTED, 0),
        outcomes.pop(NO_VALID_HOST, 0),
        outcomes,
        load.held_back,
        tuple(_rate(answers, *span) for span in ((load.started_at, began), (began, healed), (healed, load.stopped_at))),
        max(second - first for first, second in itertools.pairwise(moments)),
        after - healed if load.faulty and after else None,
    )


def _rate(answers, first, last):
    return sum(first <= answer < last for answer in answers) / (last - first) if last > first else 0.0


class _Fold:
    """A fresh fold of one log: the verdicts on its claims, and its digest at the ``positions`` that are asked for."""

    def __init__(self, cell, records, positions):
        self.digests = {}
        #: Claim uuid -> positions at which it was accepted.
        self.accepted = defaultdict(list)
        #: Claim uuid -> its instance, of those.
        self.instances = {}
        #: Instance -> hosts on which it was started.
        self.started = defaultdict(set)
        self.double_bookings = []
        self._holders = {}
        #: Instance -> the host on which it runs.
        self._running = {}
        projection = Projection(cell)
        if -1 in positions:
            self.digests[-1] = state_digest(projection)
        for position, record in records:
            outcomes, _ = projection.fold([(position, record)])
            if position in positions:
                self.digests[position] = state_digest(projection)
            taken = [outcome for outcome in outcomes if outcome.reason is None]
            for one in taken:
                self.accepted[one.claim_uuid].append(one.position)
                self.instances[one.claim_uuid] = one.consumer_uuid
            self._follow(position, record, {one.claim_uuid for one in taken})
        #: Instance -> uuid of the claim that it holds at the end.
        self.held = dict(self._holders)

    def _follow(self, position, record, accepted):
        for event in record.events:
            if not isinstance(event, Event):
                continue
            data = event.data
            if event.name == "ClaimProposed" and data.claim_uuid in accepted:
                before = self._holders.get(data.consumer_uuid)
                if before is not None:
                    self.double_bookings.append(
                        f"position {position}: {data.consumer_uuid} is given {data.claim_uuid} and holds {before}"
                    )
                self._holders[data.consumer_uuid] = data.claim_uuid
            elif event.name in ("ClaimReleased", "ClaimExpired"):
                if self._holders.get(data.consumer_uuid) == data.claim_uuid:
                    del self._holders[data.consumer_uuid]
            elif event.name == "InstanceStarted":
                self._start(position, data.consumer.instance_uuid, data.host)
            elif event.name == "InstanceDeleted":
                self._end(data.host, {data.instance_uuid})
            elif event.name == "HostReported":
                consumers = events.thaw("HostConsumers", data.consumers).consumers
                runs = {consumer.instance_uuid for consumer in consumers}
                self._end(data.host, {one for one, host in self._running.items() if host == data.host} - runs)
            elif event.name == "LogRebased":
                self._holders.clear()

    def _start(self, position, instance, host):
        self.started[instance].add(host)
        if self._running.setdefault(instance, host) != host:
            self.double_bookings.append(
                f"position {position}: {instance} is started on {host} and runs on {self._running[instance]}"
            )

    def _end(self, host, instances):
        for instance in instances:
            if self._running.get(instance) == host:
                del self._running[instance]


def _check_claims(findings, load, folds):
    acknowledged = set()
    started = {instance: hosts for fold in folds.values() for instance, hosts in fold.started.items()}
    for request in load.requests:
        if request.outcome != SELECTED:
            continue
        if request.claim_uuid is None:
            if request.host not in started.get(request.instance_uuid, ()):
                findings.lost.append(
                    f"{request.instance_uuid} was reported as built on {request.host}, and started on "
                    f"{sorted(started.get(request.instance_uuid, ())) or 'no host'}"
                )
            continue
        acknowledged.add(request.claim_uuid)
        found = folds[request.cell].accepted.get(request.claim_uuid, [])
        if found != [request.position]:
            findings.lost.append(
                f"{request.instance_uuid} was answered with the claim {request.claim_uuid} at {request.position} "
                f"of {request.cell}, accepted at {found or 'no position'}"
            )
    for cell, fold in folds.items():
        findings.double_bookings += fold.double_bookings
        findings.double_bookings += [
            f"{claim_uuid} was accepted at {positions} of {cell}"
            for claim_uuid, positions in fold.accepted.items()
            if len(positions) > 1
        ]
        findings.orphans += sum(
            claim_uuid not in acknowledged and instance not in started
            for claim_uuid, instance in fold.instances.items()
        )
    held = Counter(instance for fold in folds.values() for instance in fold.held)
    findings.double_bookings += [
        f"{instance} is held in {count} cells" for instance, count in held.items() if count > 1
    ]


class Tap:
    """All records of a log from its first on, kept in the thread that follows it; a context manager.

    For logs whose records are removed, and for tests that wait for a record.
    """

    def __init__(self, cell: str, url: str):
        #: (position, DecodedRecord) of all that was read.
        self.records: list = []
        self.fault: errors.NovaSchedError | None = None
        self._projection = Projection(cell)
        self._folded = 0
        self._stop = threading.Event()
        self._url = url
        self._thread = threading.Thread(target=self._run, name=f"tap {cell}", daemon=True)

    def __enter__(self):
        with open_log(self._url):  # which makes it where nobody has yet
            pass
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join(HANG_SECONDS)

    def _run(self):
        try:
            with open_log(self._url, create=False) as log, log.read_from(0) as reader:
                while not self._stop.is_set():
                    self.records += [
                        (record.position, codec.decode_record(record.payload, record.account))
                        for record in reader.read(timeout=0.2)
                    ]
        except errors.NovaSchedError as fault:
            self.fault = fault

    @property
    def last(self) -> int:
        """The position of the last record that was read; raises what ended the reading."""
        if self.fault is not None:
            raise self.fault
        return self.records[-1][0] if self.records else -1

    def wait_for(self, position: int) -> None:
        """Wait until the record at a position, or one behind it, was read."""
        wait_until(lambda: self.last >= position, HANG_SECONDS, f"the tap has not read {self._url} up to {position}")

    def projection(self) -> Projection:
        """What the log comes to as far as it was read."""
        fresh = self.records[self._folded :]
        self._folded += len(fresh)
        self._projection.fold(fresh)
        return self._projection

    def wait_expired(self) -> float:
        """Wait until no claim is outstanding: what nobody builds has expired; returns the seconds that it took."""
        began = time.monotonic()
        wait_until(
            lambda: (
                self.last is not None
                and not any(
                    entry.state is CLAIMED for entries in self.projection().consumers.values() for entry in entries
                )
            ),
            HANG_SECONDS,
            "claims that nobody builds do not expire",
        )
        return time.monotonic() - began


@contextmanager
def under_load(
    what: str, directory: Path, transport_url: str, log_url, selections: int = 150, rate: float = 40.0, **cloud
):
    """Run what is inside on a (Cloud, Load) that has made some ``selections``, wait until it made as many again, audit
    all of it (``load.wrong``) and print its row of the table."""
    with Cloud(directory, transport_url, log_url, **cloud) as cloud, Load(cloud, rate) as load:
        load.wait_selected(selections)
        yield cloud, load
        load.wait_selected(selections)
        load.stop()
        findings = audit(cloud, load)
        print(findings.row(what))
        load.wrong = findings.wrong()
