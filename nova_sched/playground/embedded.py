"""A whole cloud in one process: SQLite logs in a directory, RPC over oslo.messaging's fake://.

The services and the calls between them are the same as in separate processes;
only the broker is missing.
"""

import contextlib
import fcntl
import logging
import uuid
from pathlib import Path

from oslo_config import cfg

from compute_agent.drivers.local import LocalDriver
from compute_agent.drivers.simulated import SimulatedDriver, inventory_of
from nova_sched.playground.specs import bare_spec, flavor_of
from nova_sched.playground.wiring import Wiring
from nova_sched.process.checkpoint_maker import Maker
from nova_sched.scheduler.service import Cell, cell0_of
from nova_sched.selection.policy import Policy
from placement_api import config as placement_config
from rpc_api import concurrency, errors, events, messages
from rpc_api.bus import MessagingBus
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.feed.epoch import open_at_level
from rpc_api.log import open_log
from rpc_api.objects.context import RequestContext
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

NAMESPACE = uuid.UUID("b1b2b5d6-4a52-4f0e-8d35-77a8a2f3b6c9")
TRANSPORT = "fake://"
NAME = "all-in-one"
CHECK_TIMEOUT = 60.0
#: The flavor of the check: small enough for any machine.
CHECK_FLAVOR = flavor_of("check", vcpus=1, memory_mb=64)


class Embedded:
    """All services over the logs in ``state_dir``; a context manager.

    ``hosts`` is the number of simulated hosts of each cell, None for the local driver (of the first cell alone).
    Placement's API listens on ``placement_port`` of this machine, on a free port if it is 0.
    """

    def __init__(self, state_dir: Path, cells: int, hosts: int | None, placement_port: int = 0):
        self.state_dir = Path(state_dir)
        self._hosts = hosts
        self._placement_port = placement_port
        self.cells = [
            Cell(f"cell{number}", str(uuid.uuid5(NAMESPACE, f"cell{number}")), self._log(f"cell{number}"))
            for number in range(1, cells + 1)
        ]
        self._wiring = self._ending = self.conductor = self._server = None
        #: The services that have a ``fault``.
        self._services = []

    def _log(self, cell):
        return f"sqlite:///{self.state_dir.absolute() / cell}.db"

    def __enter__(self):
        if not cfg.CONF._args:
            cfg.CONF([], project="nova_sched", default_config_files=[], default_config_dirs=[])
        with contextlib.ExitStack() as starting:
            starting.callback(self._lock_state().close)
            bus = MessagingBus(cfg.CONF, TRANSPORT, "nova_sched")
            self._wiring = starting.enter_context(Wiring(bus, bus))
            self._start()
            self._ending = starting.pop_all()
        return self

    def __exit__(self, *exc):
        self._ending.close()

    def describe(self) -> str:
        """Return one line about the running services."""
        what = "this machine" if self._hosts is None else f"{number_of(self._hosts, 'simulated host')}"
        cells = ", ".join(cell.name for cell in self.cells)
        return (
            f"a scheduler, its conductors and {what} in each of {cells}; logs in {self.state_dir}; "
            f"Placement's API at {self.placement_url} for the token admin"
        )

    @property
    def placement_url(self) -> str:
        """The URL of Placement's API."""
        return self._server.urls[0]

    def _lock_state(self):
        try:
            self.state_dir.mkdir(parents=True, exist_ok=True)
            file = open(self.state_dir / "lock", "w")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.UsageError(
                f"{self.state_dir} is in use by another all-in-one; end it, or name another --state-dir"
            ) from None
        except FileExistsError:
            raise errors.UsageError(
                f"{self.state_dir} is a file, wanted a directory; name another --state-dir"
            ) from None
        except OSError as fault:
            raise errors.UsageError(
                f"{self.state_dir} cannot be used ({fault.strerror}); name another --state-dir"
            ) from None
        return file

    def _start(self):
        wiring, policy = self._wiring, Policy()
        cell0 = cell0_of(self._log("cell0"))
        for cell in (cell0, *self.cells):
            with open_log(cell.log) as log:
                open_at_level(log, cell.name, f"operator/{NAME}")
        for cell in self.cells:
            drivers = self._drivers(cell)
            conductor = wiring.cell_conductor(cell, NAME, Maker(cell.name, cell.log))
            self._services.append(conductor)
            _forget(conductor, drivers)
            if drivers:
                wiring.agent(cell, f"agent-{cell.name}", drivers)
        self._services.append(wiring.scheduler(NAME, cell0, self.cells, policy, Maker(cell0.name, cell0.log)))
        wiring.serve(
            wiring.bus,
            conductor_rpc.TOPIC,
            NAME,
            wiring.api_conductor(self.cells, policy.max_attempts),
            conductor_rpc.VERSION,
        )
        logs = [(cell.name, cell.log) for cell in (*self.cells, cell0)]
        # With one cell, providers without a host are in its log too, so that its hosts can use them.
        new_roots = self.cells[0].name if len(self.cells) == 1 else cell0.name
        placement_config.register(cfg.CONF)
        cfg.CONF.set_override("auth_strategy", placement_config.NOAUTH, placement_config.GROUP.name)
        self._server = wiring.placement(NAME, logs, new_roots, cfg.CONF, "127.0.0.1", self._placement_port)
        self.conductor = conductor_rpc.ConductorAPI(wiring.bus)

    @property
    def fault(self) -> errors.NovaSchedError | None:
        """The reason why a service cannot continue; None if all can."""
        if concurrency.death() is not None:
            return errors.NovaSchedError(f"all-in-one cannot continue: {concurrency.death()}")
        return next((service.fault for service in self._services if service.fault is not None), None)

    def _drivers(self, cell):
        if self._hosts is None:
            first = cell is self.cells[0]
            return {"local": LocalDriver("local", self.state_dir / "local")} if first else {}
        names = [f"{cell.name}-host{number}" for number in range(1, self._hosts + 1)]
        return {name: SimulatedDriver(inventory_of(name, 16, 65536, 1000)) for name in names}

    def check(self) -> messages.BuildOutcome:
        """Build one instance by RPC, as a client would, and delete it again if it was built."""
        instance_uuid = str(uuid.uuid4())
        context = RequestContext.from_dict(
            {"request_id": f"req-{uuid.uuid4()}", "project_id": "check", "user_id": "check", "is_admin": True}
        )
        spec = bare_spec(instance_uuid, "check", CHECK_FLAVOR)
        outcome = self.conductor.schedule_and_build_instances(context, spec, [instance_uuid]).result(CHECK_TIMEOUT)[0]
        if outcome.outcome == messages.BUILT:
            cell = self.cell_of(outcome.host)
            self.conductor.delete_instance(context, cell, outcome.host, instance_uuid).result(CHECK_TIMEOUT)
        return outcome

    def cell_of(self, host: str) -> str:
        """Return the cell of a host."""
        return self.cells[0].name if self._hosts is None else host.partition("-")[0]


def _forget(conductor, drivers):
    """Remove hosts of an earlier run that this one does not have."""
    gone = sorted(set(conductor.projection.hosts) - set(drivers))
    if gone:
        conductor.producer.wait(
            conductor.producer.publish(*(events.HostRemoved(host, "all-in-one runs without it") for host in gone)),
            CHECK_TIMEOUT,
        )
