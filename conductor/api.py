"""The API level's conductor: asks a scheduler for hosts, and hands each instance to the conductor of its cell."""

import logging
import uuid
from concurrent import futures

from rpc_api import errors, messages
from rpc_api.clock import SYSTEM
from rpc_api.conductor import CellConductorAPI
from rpc_api.scheduler import SchedulerAPI
from rpc_api.selections import claims_of

LOG = logging.getLogger(__name__)


class ApiConductor:
    """``cell_buses`` are the RPC buses of the cells, by name (in nova each cell has a message queue of its own)."""

    def __init__(self, bus, cell_buses, max_attempts=3, threads=32,
                 on_selected=lambda seconds: None, clock=SYSTEM):
        self._scheduler = SchedulerAPI(bus)
        self._cells = {cell: CellConductorAPI(cell_bus, cell) for cell, cell_bus in cell_buses.items()}
        self._max_attempts = max_attempts
        #: Called with the seconds that each selection took, the claim's way through the log included.
        self._on_selected = on_selected
        self._clock = clock
        self._pool = futures.ThreadPoolExecutor(threads, thread_name_prefix="build")

    def schedule_and_build_instances(self, context, spec_obj, instance_uuids):
        """Place and build; a Future of one BuildOutcome for each instance, in order.

        Hosts are asked for in the order of the calls; builds run side by side.
        """
        done = futures.Future()
        asked_at = self._clock.monotonic()
        selected = self._scheduler.select_destinations(context, spec_obj, instance_uuids)

        def on_answer(answer):
            if answer.exception() is None:
                self._on_selected(self._clock.monotonic() - asked_at)
            self._selected(answer, context, spec_obj, instance_uuids, done)

        selected.add_done_callback(on_answer)
        return done

    def _selected(self, answer, context, spec_obj, instance_uuids, done):
        fault = answer.exception()
        if fault is None:
            self._pool.submit(self._build_all, answer.result(), context, spec_obj, instance_uuids, done)
        elif _is_no_valid_host(fault):
            done.set_result([messages.BuildOutcome(one, messages.NO_VALID_HOST, None, (), 0, str(fault))
                             for one in instance_uuids])
        else:
            done.set_exception(fault)

    def _build_all(self, selections, context, spec_obj, instance_uuids, done):
        try:
            request_id = getattr(context, "global_request_id", None) or context.request_id
            started = []
            for instance_uuid, one in zip(instance_uuids, selections):
                cell, claims = claims_of(one, instance_uuid, request_id, spec_obj.project_id, lambda: str(uuid.uuid4()))
                if cell not in self._cells:
                    raise errors.UsageError(f"the scheduler chose cell {cell}, the conductor knows "
                                            f"{', '.join(sorted(self._cells))}; mend [cells] of one of them")
                started.append(self._cells[cell].build_instance(
                    context, messages.BuildRequest(instance_uuid, request_id, claims, self._max_attempts)))
            done.set_result([one.result() for one in started])
        except Exception as fault:
            LOG.warning("building %s failed: %s", ", ".join(instance_uuids), fault)
            done.set_exception(fault)

    def delete_instance(self, context, cell, host, instance_uuid):
        """Delete an instance through its cell's conductor; a Future of None."""
        return self._cells[cell].delete_instance(context, host, instance_uuid)

    def close(self):
        """Let builds that run come to their end, and start no more."""
        self._pool.shutdown(wait=True)


def _is_no_valid_host(fault):
    # Without nova installed, oslo.messaging makes a RemoteError of nova's exception.
    return "NoValidHost" in (type(fault).__name__, getattr(fault, "exc_type", None))
