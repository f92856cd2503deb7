"""The conductors as service processes: of the API level, and of one cell."""

from conductor import config, shown
from conductor.api import ApiConductor
from conductor.cell import CellConductor
from conductor.tap.source import source_of
from nova_sched.process.checkpoint_options import maker_of
from nova_sched.process.service import Remaining, Service
from nova_sched.process.snapshot_store import store_of
from rpc_api import config as shared
from rpc_api.contracts.conductor import VERSION, cell_topic
from rpc_api.wording import number_of

#: What --help says about the service.
DESCRIPTION = (
    "Build instances on the chosen hosts (--level api, --level cell), and look after the claims and hosts of a cell."
)

register = config.register


def service(conf) -> Service:
    """The service that the command line names; UsageError if it names none."""
    config.check(conf)
    return CellService(conf) if conf.level == "cell" else ApiService(conf)


class ApiService(Service):
    """The API level's conductor, answering ``[conductor] rpc_topic``."""

    def __init__(self, conf):
        self._conf = conf
        self._cells = shared.cells_of(conf)
        self._buses = shared.Buses(conf)
        self._conductor = self._server = None

    def start(self):
        options, bus = self._conf.conductor, self._buses.top()
        # A cell whose broker is away must not keep the others waiting.
        buses = {cell.name: self._buses.of(cell, checked=False) for cell in self._cells}
        self._conductor = ApiConductor(
            bus,
            buses,
            self._conf.scheduler.max_attempts,
            options.build_threads,
            scheduler_topic=self._conf.scheduler.rpc_topic,
            topic=options.rpc_topic,
        )
        self._conductor.watch()
        self._server = self._buses.serve(bus, options.rpc_topic, options.name, self._conductor, VERSION)

    def serves(self):
        return (
            f"conductor/{self._conf.conductor.name} of the API level answers the topic "
            f"{self._conf.conductor.rpc_topic} for {', '.join(cell.name for cell in self._cells)}"
        )

    def drain(self, timeout):
        time = Remaining(timeout)
        drained = self._server.stop(time.left) if self._server is not None else True
        if self._conductor is not None:
            drained = self._conductor.close(time.left) and drained
        self._buses.close()
        return drained

    def reload(self):
        self._conductor.max_attempts = self._conf.scheduler.max_attempts

    def report(self):
        silent = [name for name, since in self._conductor.silent.items() if since is not None]
        return {
            "name": self._conf.conductor.name,
            "level": "api",
            "requests in flight": self._conductor.in_flight,
            "not answering": ", ".join(silent) or "none",
            "cells": ", ".join(cell.name for cell in self._cells),
        }

    MONITORING_PORT = 9775

    def samples(self):
        return () if self._conductor is None else shown.samples_of_api(self._conductor)

    def why_not_ready(self):
        silent = self._conductor.silent
        found = ["no scheduler answers; check them and the broker"] if silent["schedulers"] is not None else []
        return [*found, *self._buses.faults()]

    def look(self):
        self._buses.look()


class CellService(Service):
    """The conductor of one cell, answering the cell's topic on the cell's message queue."""

    def __init__(self, conf):
        self._conf = conf
        self._cell = shared.cell_of(conf, conf.cell)
        shared.check_account(conf, "conductor", conf.conductor.name, self._cell.log)
        self._store = store_of(conf)
        self._buses = shared.Buses(conf)
        self._conductor = self._server = None
        self._topic = cell_topic(self._cell.name, conf.conductor.rpc_topic)

    def start(self):
        options, cell = self._conf.conductor, self._cell
        bus = self._buses.of(cell)
        self._conductor = CellConductor(
            options.name,
            cell.name,
            cell.log,
            bus,
            service_down_time=options.service_down_time,
            claim_ttl=options.claim_ttl,
            build_timeout=options.build_timeout,
            cancel_timeout=options.cancel_timeout,
            agent_topic=self._conf.compute_agent.rpc_topic,
            store=self._store,
            snapshot_interval=self._conf.snapshots.interval,
            require_accounts=self._conf.cells.require_accounts,
            checkpoints=maker_of(self._conf, cell.name, cell.log, self._store),
            tap_source=source_of(self._conf, cell),
        )
        self._conductor.start(self._conf.cells.catch_up_timeout)
        self._server = self._buses.serve(bus, self._topic, options.name, self._conductor, VERSION)

    def serves(self):
        return (
            f"{self._conductor.name} of {self._cell.name} answers the topic {self._topic} for "
            f"{number_of(len(self._conductor.projection.hosts), 'host')}"
        )

    def drain(self, timeout):
        time = Remaining(timeout)
        drained = self._server.stop(time.left) if self._server is not None else True
        if self._conductor is not None:
            drained = self._conductor.stop(time.left) and drained
        self._buses.close()
        return drained

    def report(self):
        return {"level": "cell", **shown.facts_of_cell(self._conductor)}

    MONITORING_PORT = 9776

    def pulses(self):
        return [] if self._conductor is None else [self._conductor.pulse]

    def followed(self):
        return [] if self._conductor is None else [shown.followed_by(self._conductor)]

    def samples(self):
        return () if self._conductor is None else shown.samples_of_cell(self._conductor)

    def why_not_ready(self):
        return [*shown.why_cell_not_ready(self._conductor), *self._buses.faults()]

    def look(self):
        self._buses.look()

    @property
    def fault(self):
        return None if self._conductor is None else self._conductor.fault
