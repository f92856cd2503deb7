"""The shadow as a service process: a scheduler that reads copies, answers nobody and claims nothing."""

import functools
import logging

from nova_sched.process.service import Remaining, Service
from nova_sched.process.snapshot_store import store_of
from nova_sched.projection.state import CELL0
from nova_sched.scheduler import config, shown
from nova_sched.scheduler.app import use_policy_of
from nova_sched.scheduler.neutron import networks_of
from nova_sched.scheduler.service import Scheduler
from nova_sched.scheduler.shadow import options
from nova_sched.scheduler.shadow.engine import LEVEL, Settings, ShadowEngine
from nova_sched.scheduler.shadow.readers import BuildReader, RequestReader
from nova_sched.scheduler.shadow.report import samples_of, shadow_facts, why_not_reading
from rpc_api import config as shared
from rpc_api import errors
from rpc_api.bus.copy_reader import READING
from rpc_api.clock import SYSTEM
from rpc_api.config import check_account
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

#: What --help says about the service.
DESCRIPTION = (
    "Decide beside Nova's own scheduler on copies of its requests, claim nothing, and record where Nova chose another "
    "host and why."
)
ROLE = "shadow"

register = config.register


class ShadowService(Service):
    """A scheduler over the logs of all cells that reads copies of Nova's messages."""

    def __init__(self, conf):
        self._conf = conf
        self._policy = config.policy_of(conf)
        self._networks = networks_of(conf, self._policy.query_placement_for_routed_network_aggregates)
        cell0, cells = config.cells(conf)
        check_account(conf, ROLE, conf.shadow.name, cell0.log)
        options.register_transport(conf)
        has_allocations = conf.scheduler.placement_endpoint == config.NOVA_SCHED
        if not (conf.shadow.read_builds or has_allocations):
            raise errors.UsageError(
                "[shadow] read_builds is false and [scheduler] placement_endpoint is placement, so nothing shows what "
                "Nova chooses; set one of them otherwise"
            )
        self._builds = []
        self.scheduler = Scheduler(
            conf.shadow.name,
            cell0,
            cells,
            self._policy,
            claim_timeout=conf.scheduler.claim_timeout,
            cell_down_after=conf.scheduler.cell_down_after,
            store=store_of(conf),
            snapshot_interval=conf.snapshots.interval,
            role=ROLE,
            engine_class=functools.partial(
                ShadowEngine,
                settings=Settings(conf.shadow.choice_timeout, conf.shadow.memory_seconds, has_allocations),
                sees_builds=self._sees_builds,
            ),
        )
        self._requests = RequestReader(
            options.queue_of(conf, "requests", None, conf.shadow.topic), self.scheduler, self._networks, SYSTEM
        )
        for cell in shared.cells_of(conf) if conf.shadow.read_builds else ():
            source = options.queue_of(conf, f"builds.{cell.name}", cell.transport_url, f"{conf.shadow.compute_topic}.#")
            self._builds.append(BuildReader(cell.name, source, self.scheduler, conf.shadow.compute_topic, SYSTEM))

    def _sees_builds(self):
        return bool(self._builds) and all(reader.state == READING for reader in self._builds)

    def start(self):
        self.scheduler.start().wait_ready(self._conf.cells.catch_up_timeout)
        level = self.scheduler.engine.world.projections[CELL0].level
        if level < LEVEL:
            raise errors.UsageError(
                f"the log of {CELL0} is at level {level}, a shadow needs {LEVEL} to record what it compares; pin the "
                "logs (nova-sched pin)"
            )
        # What shows Nova's choices first.
        for reader in (*self._builds, self._requests):
            reader.start()

    def serves(self):
        hosts = len(self.scheduler.engine.world.table.row_of_host)
        return (
            f"{self.scheduler.name} compares requests of the topic {self._conf.shadow.topic} for "
            f"{', '.join(name for name in self.scheduler.cells)} with {number_of(hosts, 'host')}, and claims nothing"
        )

    def drain(self, timeout):
        time = Remaining(timeout)
        for reader in (self._requests, *self._builds):
            reader.stop()
        return self.scheduler.stop(time.left)

    def reload(self):
        self._policy = use_policy_of(self._conf, self.scheduler, self._policy, self._networks)

    def report(self):
        return shadow_facts(self.scheduler, (self._requests, *self._builds))

    MONITORING_PORT = 9773

    def pulses(self):
        return [self.scheduler.pulse]

    def followed(self):
        return shown.followed_by(self.scheduler)

    def samples(self):
        return samples_of(self.scheduler.engine, self._sources())

    def why_not_ready(self):
        return [*shown.why_not_ready(self.scheduler), *why_not_reading(self._sources())]

    def _sources(self):
        """What is read: "requests", and the builds of each cell -> its reader."""
        return {"requests": self._requests, **{reader.cell: reader for reader in self._builds}}

    @property
    def fault(self):
        return self.scheduler.fault


service = ShadowService
