"""The scheduler as a service process."""

import logging

from nova_sched.process.checkpoint_options import maker_of
from nova_sched.process.service import Remaining, Service
from nova_sched.process.snapshot_store import store_of
from nova_sched.process.tracing import flush, provider_of
from nova_sched.request.networks import NotConfigured
from nova_sched.scheduler import config, shown
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.host_discovery import discovery_of, hosts_of_nova
from nova_sched.scheduler.neutron import networks_of
from nova_sched.scheduler.notifications import notifications_of
from nova_sched.scheduler.report import scheduler_facts
from nova_sched.scheduler.service import Scheduler
from rpc_api import errors
from rpc_api.config import Buses, check_account
from rpc_api.contracts.scheduler import VERSION
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

#: What --help says about the service.
DESCRIPTION = "Choose hosts for instances: answer select_destinations from the logs of all cells."

register = config.register


class SchedulerService(Service):
    """A scheduler over the logs of all cells, answering ``[scheduler] rpc_topic``."""

    def __init__(self, conf):
        self._conf = conf
        self._policy = config.policy_of(conf)
        self._networks = networks_of(conf, self._policy.query_placement_for_routed_network_aggregates)
        cell0, cells = config.cells(conf)
        options = conf.scheduler
        check_account(conf, "scheduler", options.name, cell0.log, *(cell.log for cell in cells))
        self._buses = Buses(conf)
        self._server = self._endpoint = None
        self._notifications = notifications_of(conf)
        store = store_of(conf)
        self._provider = provider_of(conf, "nova-sched-scheduler")
        self.scheduler = Scheduler(
            options.name,
            cell0,
            cells,
            self._policy,
            claim_timeout=options.claim_timeout,
            cell_down_after=options.cell_down_after,
            store=store,
            snapshot_interval=conf.snapshots.interval,
            require_accounts=conf.cells.require_accounts,
            checkpoints=maker_of(conf, cell0.name, cell0.log, store),
            tracing=_tracing_of(self._provider),
        )
        self._discovery = discovery_of(options, self._hosts_of_nova)

    def _hosts_of_nova(self):
        asked = self.scheduler.call(lambda engine: hosts_of_nova(engine.world.projections.values()))
        return asked.result(self._conf.scheduler.claim_timeout)

    def start(self):
        bus = self._buses.top()
        self.scheduler.start().wait_ready(self._conf.cells.catch_up_timeout)
        options = self._conf.scheduler
        self._endpoint = SchedulerEndpoint(self.scheduler, self._networks, self._gives_terms(), self._notifications)
        self._server = self._buses.serve(bus, options.rpc_topic, options.name, self._endpoint, VERSION)
        self._discovery.start()

    def _gives_terms(self):
        return self._conf.scheduler.placement_endpoint == config.NOVA_SCHED

    def serves(self):
        hosts = len(self.scheduler.engine.world.table.row_of_host)
        return (
            f"{self.scheduler.name} answers the topic {self._conf.scheduler.rpc_topic} for "
            f"{', '.join(name for name in self.scheduler.cells)} with {number_of(hosts, 'host')}"
        )

    def drain(self, timeout):
        time = Remaining(timeout)
        self._discovery.stop()
        drained = self._server.stop(time.left) if self._server is not None else True
        drained = self.scheduler.stop(time.left) and drained
        self._notifications.close()
        self._buses.close()
        flush(self._provider)
        return drained

    def reload(self):
        self._policy = use_policy_of(self._conf, self.scheduler, self._policy, self._networks)
        self._endpoint.gives_terms = self._gives_terms()

    def report(self):
        return scheduler_facts(self.scheduler)

    MONITORING_PORT = 9774

    def pulses(self):
        return [self.scheduler.pulse]

    def followed(self):
        return shown.followed_by(self.scheduler)

    def samples(self):
        return shown.samples_of(self.scheduler)

    def why_not_ready(self):
        return [*shown.why_not_ready(self.scheduler), *self._buses.faults()]

    def look(self):
        self._buses.look()

    @property
    def fault(self):
        return self.scheduler.fault


def _tracing_of(provider):
    """The Tracing of a TracerProvider; None, without an import of its packages, for None."""
    if provider is None:
        return None
    from nova_sched.scheduler.trace import Tracing

    return Tracing(provider)


def use_policy_of(conf, scheduler, policy, networks):
    """Let a Scheduler decide by the policy of its configuration, if that is not ``policy``, the present one. Returns
    the policy; UsageError if Neutron is needed and ``networks`` does not ask it."""
    configured = config.policy_of(conf)
    if configured.query_placement_for_routed_network_aggregates and isinstance(networks, NotConfigured):
        raise errors.UsageError(
            "[scheduler] query_placement_for_routed_network_aggregates is set and [neutron] "
            "was not configured when the scheduler started; "
            "configure it and restart the scheduler"
        )
    if configured != policy:
        scheduler.set_policy(configured).result(conf.scheduler.claim_timeout)
        LOG.debug("%s decides by the policy %s", scheduler.name, configured.to_json())
    return configured


service = SchedulerService
