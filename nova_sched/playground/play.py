"""Play: feed recorded requests through real agents, logs, schedulers and conductors.

The agents, the conductors and the player are in this process; each scheduler
is a process of its own if processes can share the log.
"""

import contextlib
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from compute_agent.drivers.simulated import SimulatedDriver
from nova_sched.playground.logs import cell_log_url, is_shared, stream_of, transport_url
from nova_sched.playground.specs import context_of, spec_of
from nova_sched.playground.wiring import Wiring
from nova_sched.playground.worker import RemoteScheduler, WorkerSettings
from nova_sched.playground.workload import Workload, uuid_of
from nova_sched.scheduler.service import Cell, cell0_of
from rpc_api import errors, events, messages
from rpc_api.bus import LocalBus, MessagingBus
from rpc_api.contracts import scheduler as scheduler_rpc
from rpc_api.feed.epoch import ensure_open, open_at_level
from rpc_api.feed.publisher import Appender, Producer
from rpc_api.log import open_log
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

EXCHANGE = "nova_sched_play"
#: Greatest number of calls in flight: oslo.messaging warns when its pool of connections (30) is exceeded.
MAX_CALLS = 28


@dataclass(frozen=True)
class PlaySettings:
    """The settings of a play: ``rate`` is requests per second, None for no limit; ``in_flight`` is the greatest number
    of arrivals and departures in flight; ``chain`` is the name of the policy's weighers, for the report."""

    log: str
    policy: object
    cells: int = 1
    schedulers: int = 1
    fail: float = 0.0
    seed: int = 0
    rate: float | None = None
    in_flight: int = 32
    chain: str = "nova"


@dataclass
class Result:
    """The final state of a request; ``seconds`` from its submission to its end."""

    request: object
    outcome: messages.BuildOutcome
    seconds: float


class Cloud:
    """All services of a cloud, wired together; a context manager."""

    def __init__(self, workload: Workload, settings: PlaySettings):
        self.workload = workload
        self.settings = settings
        self.cells = [
            Cell(f"cell{number}", uuid_of("cell", number), cell_log_url(settings.log, f"cell{number}"))
            for number in range(1, settings.cells + 1)
        ]
        self.cell0 = cell0_of(cell_log_url(settings.log, "cell0"))
        #: Seconds from the submission of each request to its selection, including the claim's way through the log.
        self.claim_seconds = []
        self._wiring = self._ending = self.conductor = None

    def __enter__(self):
        with contextlib.ExitStack() as starting:
            for cell in (self.cell0, *self.cells):
                log = starting.enter_context(open_log(cell.log))
                _check_empty(log)
                open_at_level(log, cell.name, "operator/play")
            # The broker may be shared with another cloud, even a real one: no call may cross over.
            topic = f"{stream_of(self.settings.log)}.{scheduler_rpc.TOPIC}"
            # Conductors and agents are all in this process, so their calls need no broker.
            self._wiring = starting.enter_context(Wiring(self._open_bus(), LocalBus(), topic))
            self._start()
            self._ending = starting.pop_all()
        return self

    def __exit__(self, *exc):
        self._ending.close()

    def _start(self):
        wiring = self._wiring
        _append_racks(self.cell0, self.workload.racks)
        for cell, hosts in self.split_hosts().items():
            wiring.cell_conductor(cell, cell.name)
            wiring.agent(cell, f"agents-{cell.name}", self._drivers(hosts))
        self._start_schedulers()
        self.conductor = wiring.api_conductor(
            self.cells, self.settings.policy.max_attempts, on_selected=self.claim_seconds.append
        )

    def _open_bus(self):
        url = transport_url(self.settings.log)
        if url is None:
            return LocalBus()
        from oslo_config import cfg

        if not cfg.CONF._args:
            cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
        return MessagingBus(cfg.CONF, url, EXCHANGE, threads=min(MAX_CALLS, self.settings.in_flight))

    def split_hosts(self):
        """Return cell -> its hosts. Racks stay whole, and cells get about the same number of hosts."""
        racks = {}
        for host in self.workload.inventories:
            racks.setdefault(self.workload.racks.get(host, host), []).append(host)
        split = {cell: [] for cell in self.cells}
        for members in racks.values():
            min(split.values(), key=len).extend(members)
        return split

    def _drivers(self, hosts):
        return {
            host: SimulatedDriver(self.workload.inventories[host], self.settings.fail, self.settings.seed)
            for host in hosts
        }

    def _start_schedulers(self):
        settings, wiring = self.settings, self._wiring
        names = [f"scheduler-{number}" for number in range(1, settings.schedulers + 1)]
        if not is_shared(settings.log):
            for name in names:
                wiring.scheduler(name, self.cell0, self.cells, settings.policy)
            return
        transport = transport_url(settings.log)
        remote = [
            RemoteScheduler(
                WorkerSettings(
                    name, self.cell0, tuple(self.cells), settings.policy, transport, EXCHANGE, wiring.scheduler_topic
                )
            )
            for name in names
        ]
        for end in [scheduler.stop for scheduler in remote] + [scheduler.ask_to_stop for scheduler in remote]:
            wiring.callback(end)
        for scheduler in remote:
            scheduler.wait_ready()
            if transport is None:
                wiring.serve(wiring.bus, wiring.scheduler_topic, scheduler.name, scheduler, scheduler_rpc.VERSION)


def _check_empty(log):
    count = log.bounds().count
    if count:
        raise errors.UsageError(
            f"the log {log.url} has {number_of(count, 'record')}, wanted an empty one; name another --log or --out, or "
            "remove it"
        )


def _append_racks(cell0, racks):
    """Append the racks to cell0's log, as aggregates with the metadata domain=rack."""
    hosts = {}
    for host, rack in racks.items():
        hosts.setdefault(rack, []).append(host)
    if not hosts:
        return
    with open_log(cell0.log) as log:
        appender = Appender(log, ensure_open(log, cell0.name, "operator/play").epoch, "play")
        producer = Producer(appender, "operator/play")
        producer.publish(
            *(
                events.AggregateUpdated(rack, f"rack {rack}", tuple(members), {"domain": "rack"})
                for rack, members in sorted(hosts.items())
            )
        )
        if not appender.close(60):
            raise errors.LogUnavailable(f"the racks could not be appended to {log.url} within 60 s; check its broker")


class Player:
    """Feeds the requests of a workload to a cloud, in order; ``on_result`` is called for each result."""

    def __init__(self, cloud: Cloud, on_result=lambda result: None):
        self.cloud = cloud
        self.results = {}
        self.counts = Counter()
        self._on_result = on_result
        self._room = threading.Semaphore(cloud.settings.in_flight)
        self._members = {}
        self._futures = {}
        self._cell_of_host = {host: cell.name for cell, hosts in cloud.split_hosts().items() for host in hosts}
        self._leavers = ThreadPoolExecutor(min(16, cloud.settings.in_flight), thread_name_prefix="departures")
        self._lock = threading.Lock()

    def run(self):
        """Play everything, and return the results by sequence number."""
        started, sent = time.monotonic(), 0
        for kind, request in _timeline(self.cloud.workload.requests):
            self._room.acquire()
            if kind == "depart":
                self._leavers.submit(self._depart, request)
                continue
            if self.cloud.settings.rate:
                wait = started + sent / self.cloud.settings.rate - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
            sent += 1
            self._submit(request)
        for _ in range(self.cloud.settings.in_flight):
            self._room.acquire()
        self._leavers.shutdown()
        return self.results

    def _submit(self, request):
        members = self._members.setdefault(request.group, []) if request.group else []
        spec, begun = spec_of(request, members), time.monotonic()
        members.append(request.instance_uuid)
        asked = self.cloud.conductor.schedule_and_build_instances(context_of(request), spec, [request.instance_uuid])
        self._futures[request.seq] = asked
        asked.add_done_callback(lambda done: self._ended(request, done, time.monotonic() - begun))

    def _ended(self, request, done, seconds):
        fault = done.exception()
        if fault is None:
            outcome = done.result()[0]
        else:
            outcome = messages.BuildOutcome(
                request.instance_uuid, messages.SERVICE_UNAVAILABLE, None, (), 0, str(fault)
            )
        result = Result(request, outcome, seconds)
        with self._lock:
            self.results[request.seq] = result
            self.counts[outcome.outcome] += 1
        self._on_result(result)
        self._room.release()

    def _depart(self, request):
        """Delete an instance at its departure, after its build has ended."""
        asked = self._futures.pop(request.seq)
        outcome = None if asked.exception() is not None else asked.result()[0]
        if outcome is not None and outcome.outcome == messages.BUILT:
            try:
                self.cloud.conductor.delete_instance(
                    {}, self._cell_of_host[outcome.host], outcome.host, request.instance_uuid
                ).result()
                kind = "departed"
            except errors.NovaSchedError as fault:
                LOG.warning("%s could not be deleted: %s", request.instance_uuid, fault)
                kind = "not departed"
            with self._lock:
                self.counts[kind] += 1
        self._room.release()


def _timeline(requests):
    """("arrive" or "depart", request) in order of time; who leaves at an instant leaves before who arrives then."""
    moments = []
    for request in requests:
        moments.append((request.arrives, 1, request.seq, "arrive", request))
        if request.departs is not None:
            moments.append(
                (
                    max(request.departs, request.arrives),
                    0 if request.departs > request.arrives else 2,
                    request.seq,
                    "depart",
                    request,
                )
            )
    moments.sort(key=lambda moment: moment[:3])
    for _, _, _, kind, request in moments:
        yield kind, request
