"""The API level's conductor: asks a scheduler for hosts, and hands each instance to the conductor of its cell."""

import logging
import threading
import uuid
from concurrent import futures

from rpc_api import conductor as conductor_rpc
from rpc_api import errors, log_context, messages
from rpc_api import scheduler as scheduler_rpc
from rpc_api.clock import SYSTEM
from rpc_api.conductor import CellConductorAPI
from rpc_api.nova_exception import NoValidHost
from rpc_api.scheduler import SchedulerAPI
from rpc_api.selections import claims_of

LOG = logging.getLogger(__name__)


class ApiConductor:
    """``cell_buses`` are the RPC buses of the cells, by name (in nova each cell has a message queue of its own)."""

    RPC_METHODS = ("schedule_and_build_instances", "delete_instance")

    def __init__(self, bus, cell_buses, max_attempts=3, threads=32, on_selected=lambda seconds: None, clock=SYSTEM,
                 scheduler_topic=scheduler_rpc.TOPIC, topic=conductor_rpc.TOPIC):
        self._scheduler = SchedulerAPI(bus, scheduler_topic)
        self._cells = {cell: CellConductorAPI(cell_bus, cell, topic) for cell, cell_bus in cell_buses.items()}
        #: Hosts that are tried for an instance, of the builds that begin from now on.
        self.max_attempts = max_attempts
        #: Called with the seconds that each selection took, the claim's way through the log included.
        self._on_selected = on_selected
        self._clock = clock
        self._pool = futures.ThreadPoolExecutor(threads, thread_name_prefix="build")
        #: Requests that have no outcome yet.
        self.in_flight = 0
        self._lock = threading.Lock()

    def schedule_and_build_instances(self, context, spec_obj, instance_uuids):
        """Place and build; a Future of one BuildOutcome for each instance, in order.

        Hosts are asked for in the order of the calls; builds run side by side.
        """
        done = futures.Future()
        self._count(+1)
        done.add_done_callback(lambda _: self._count(-1))
        asked_at = self._clock.monotonic()
        selected = self._scheduler.select_destinations(context, spec_obj, instance_uuids)

        def on_answer(answer):
            if answer.exception() is None:
                self._on_selected(self._clock.monotonic() - asked_at)
            self._selected(answer, context, spec_obj, instance_uuids, done)

        selected.add_done_callback(on_answer)
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
                # The pool was closed meanwhile; what was claimed expires.
                done.set_exception(errors.NovaSchedError("the conductor is stopping; ask another one"))
        elif isinstance(fault, NoValidHost):
            done.set_result([messages.BuildOutcome(one, messages.NO_VALID_HOST, None, (), 0, str(fault))
                             for one in instance_uuids])
        else:
            done.set_exception(fault)

    def _build_all(self, selections, context, spec_obj, instance_uuids, done):
        with log_context.of(context):
            self._build_each(selections, context, spec_obj, instance_uuids, done)

    def _build_each(self, selections, context, spec_obj, instance_uuids, done):
        try:
            request_id = getattr(context, "global_request_id", None) or context.request_id
            started = []
            for instance_uuid, one in zip(instance_uuids, selections):
                cell, claims, position = claims_of(one, instance_uuid, request_id, spec_obj.project_id,
                                                    lambda: str(uuid.uuid4()))
                started.append((instance_uuid, cell, self._cell(cell).build_instance(
                    context, messages.BuildRequest(instance_uuid, request_id, claims, self.max_attempts, position))))
            done.set_result([self._outcome(*one) for one in started])
        except Exception as fault:
            LOG.warning("building %s failed: %s", ", ".join(instance_uuids), fault)
            done.set_exception(fault)

    @staticmethod
    def _outcome(instance_uuid, cell, asked):
        try:
            return asked.result()
        except errors.NovaSchedError as fault:
            # Its claim, if it still holds, expires; the other instances of the request have outcomes of their own.
            LOG.warning("the conductor of %s did not build %s: %s", cell, instance_uuid, fault)
            return messages.BuildOutcome(instance_uuid, messages.MAX_RETRIES_EXCEEDED, None, (), 0,
                                         f"the conductor of {cell} did not answer: {fault}")

    def _cell(self, cell):
        if cell not in self._cells:
            raise errors.UsageError(f"there is no cell {cell} here, wanted one of {', '.join(sorted(self._cells))}; "
                                    "mend [cells] enabled of the conductor or of the scheduler")
        return self._cells[cell]

    def delete_instance(self, context, cell, host, instance_uuid):
        """Delete an instance through its cell's conductor; a Future of None."""
        return self._cell(cell).delete_instance(context, host, instance_uuid)

    def close(self):
        """Let builds that run come to their end, and start no more."""
        self._pool.shutdown(wait=True)
