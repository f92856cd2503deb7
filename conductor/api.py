"""The API level's conductor: asks a scheduler for hosts, and hands each instance to the conductor of its cell."""

import logging
import threading
import uuid
from concurrent import futures

from rpc_api import concurrency, errors, log_context, messages
from rpc_api.bus import expected
from rpc_api.clock import SYSTEM
from rpc_api.contracts import conductor as conductor_rpc
from rpc_api.contracts import scheduler as scheduler_rpc
from rpc_api.contracts.conductor import CellConductorAPI
from rpc_api.contracts.scheduler import SchedulerAPI
from rpc_api.contracts.selections import claims_of
from rpc_api.nova_exception import NoValidHost
from rpc_api.watch import Watch
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

#: Seconds between two checks whether schedulers and the conductors of the cells answer.
WATCH_INTERVAL = 10.0


class ApiConductor:
    """``cell_buses`` are the RPC buses of the cells, by name (in Nova each cell has its own message queue)."""

    RPC_METHODS = ("schedule_and_build_instances", "delete_instance")

    def __init__(
        self,
        bus,
        cell_buses,
        max_attempts=3,
        threads=32,
        on_selected=lambda seconds: None,
        clock=SYSTEM,
        scheduler_topic=scheduler_rpc.TOPIC,
        topic=conductor_rpc.TOPIC,
    ):
        self._scheduler = SchedulerAPI(bus, scheduler_topic)
        self._cells = {cell: CellConductorAPI(cell_bus, cell, topic) for cell, cell_bus in cell_buses.items()}
        #: Number of hosts that are tried for an instance, for builds that begin from now on.
        self.max_attempts = max_attempts
        #: Called with the seconds that each selection took, with the claim's way through the log.
        self._on_selected = on_selected
        self._clock = clock
        self._pool = concurrency.DaemonPool(threads, "build")
        self._watches = {
            None: Watch(
                self._scheduler.ping,
                f"the schedulers' topic {scheduler_topic}",
                "no request can be placed until a nova-sched-scheduler answers it; check them and the broker",
                WATCH_INTERVAL,
                clock,
            )
        }
        self._watches.update(
            (
                cell,
                Watch(
                    api.ping,
                    f"the topic {conductor_rpc.cell_topic(cell, topic)} of the conductors of {cell}",
                    f"nothing can be built in {cell} until a nova-sched-conductor of the cell answers it; check them "
                    "and the broker",
                    WATCH_INTERVAL,
                    clock,
                ),
            )
            for cell, api in self._cells.items()
        )
        #: Requests that have no outcome yet.
        self.in_flight = 0
        self._lock = threading.Lock()

    def watch(self):
        """Start to check whether schedulers and the conductors of the cells answer; an outage is logged."""
        for watch in self._watches.values():
            watch.start()
        return self

    @property
    def silent(self) -> dict:
        """ "schedulers" and each cell -> since when none of its servers answers (monotonic); None while one does."""
        return {name or "schedulers": watch.silent_since for name, watch in self._watches.items()}

    def schedule_and_build_instances(self, context, spec_obj, instance_uuids):
        """Place and build. Returns a Future of one BuildOutcome for each instance, in order, also after errors.

        Hosts are asked for in the order of the calls; builds run side by side.
        """
        done = futures.Future()
        asked_at = self._clock.monotonic()
        selected = self._scheduler.select_destinations(context, spec_obj, instance_uuids)
        self._count(+1)
        done.add_done_callback(lambda _: self._count(-1))

        def on_answer(answer):
            if not isinstance(answer.exception(), (errors.NoAnswer, errors.NoSuchServer)):
                self._watches[None].heard()
            if answer.exception() is None:
                self._on_selected(self._clock.monotonic() - asked_at)
            self._selected(answer, context, spec_obj, instance_uuids, done)

        selected.add_done_callback(lambda answer: concurrency.or_fail(done, on_answer, answer))
        return done

    def _count(self, change):
        with self._lock:
            self.in_flight += change

    def _selected(self, answer, context, spec_obj, instance_uuids, done):
        fault = answer.exception()
        if fault is None:
            try:
                self._pool.submit(self._build_all, answer.result(), context, spec_obj, instance_uuids, done)
            except RuntimeError:
                # The pool was closed meanwhile; the claims expire.
                self._unavailable(
                    instance_uuids, errors.NovaSchedError("the conductor is stopping; ask another one"), done
                )
        elif isinstance(fault, NoValidHost):
            done.set_result(
                [_not_built(instance_uuid, messages.NO_VALID_HOST, fault) for instance_uuid in instance_uuids]
            )
        else:
            self._unavailable(instance_uuids, fault, done)

    @staticmethod
    def _unavailable(instance_uuids, fault, done):
        LOG.warning("%s cannot be built now: %s", ", ".join(instance_uuids), fault)
        done.set_result(
            [_not_built(instance_uuid, messages.SERVICE_UNAVAILABLE, fault) for instance_uuid in instance_uuids]
        )

    def _build_all(self, selections, context, spec_obj, instance_uuids, done):
        with log_context.of(context):
            self._build_each(selections, context, spec_obj, instance_uuids, done)

    def _build_each(self, selections, context, spec_obj, instance_uuids, done):
        try:
            builds = self._builds(selections, context, spec_obj, instance_uuids)
            started = [(build.instance_uuid, cell, self._begin(context, cell, build)) for cell, build in builds]
            done.set_result([self._outcome(*build) for build in started])
        except Exception as fault:
            self._unavailable(instance_uuids, expected(fault), done)

    def _builds(self, selections, context, spec_obj, instance_uuids):
        """(cell, BuildRequest) of each instance. If an answer cannot be used, an error is raised before any build
        begins."""
        if len(selections) != len(instance_uuids) or not all(selections):
            raise errors.NovaSchedError(
                f"a scheduler answered with hosts for {number_of(sum(map(bool, selections)), 'instance')}, wanted "
                f"{len(instance_uuids)}; nothing is built and what it claimed expires; check the version of the "
                "schedulers"
            )
        request_id = getattr(context, "global_request_id", None) or context.request_id
        builds = []
        for instance_uuid, selection in zip(instance_uuids, selections, strict=True):
            cell, claims, position = claims_of(
                selection, instance_uuid, request_id, spec_obj.project_id, lambda: str(uuid.uuid4())
            )
            self._cell(cell)
            builds.append((cell, messages.BuildRequest(instance_uuid, request_id, claims, self.max_attempts, position)))
        return builds

    def _begin(self, context, cell, build):
        """A Future of the outcome of a build. An error of the call is in the Future, too, so that it does not end the
        other builds."""
        try:
            return self._cells[cell].build_instance(context, build)
        except Exception as fault:
            failed = futures.Future()
            failed.set_exception(fault)
            return failed

    def _outcome(self, instance_uuid, cell, asked):
        try:
            outcome = asked.result()
            self._watches[cell].heard()
            return outcome
        except Exception as unexpected:
            # Its claim, if it still holds, expires; the other instances of the request have outcomes of their own.
            fault = expected(unexpected)
            LOG.warning("the conductor of %s did not build %s: %s", cell, instance_uuid, fault)
            return _not_built(
                instance_uuid, messages.SERVICE_UNAVAILABLE, f"the conductor of {cell} did not answer: {fault}"
            )

    def _cell(self, cell):
        if cell not in self._cells:
            raise errors.UsageError(
                f"there is no cell {cell} here, wanted one of {', '.join(sorted(self._cells))}; "
                "fix [cells] enabled of the conductor or of the scheduler"
            )
        return self._cells[cell]

    def delete_instance(self, context, cell, host, instance_uuid):
        """Delete an instance through its cell's conductor; a Future of None."""
        return self._cell(cell).delete_instance(context, host, instance_uuid)

    def close(self, timeout: float | None = None) -> bool:
        """Wait for running builds, for at most ``timeout`` seconds, and start no more; True if none is left."""
        for watch in self._watches.values():
            watch.stop()
        return self._pool.shutdown(timeout=timeout)


def _not_built(instance_uuid, outcome, reason):
    return messages.BuildOutcome(instance_uuid, outcome, None, (), 0, str(reason))
