"""A smoke test: a real request to a scheduler over RPC, whose claims are read in the logs and given back."""

import uuid
from typing import NamedTuple

from nova_sched.operate.publish import check_level, published
from nova_sched.replay.dry_run.question import Asked, spec_of
from nova_sched.replay.logs.reading import decoded_records
from rpc_api import errors, events
from rpc_api.clock import SYSTEM
from rpc_api.contracts.scheduler import SchedulerAPI
from rpc_api.nova_exception import NovaException
from rpc_api.objects.context import RequestContext

REASON = "smoke test"


class Tested(NamedTuple):
    """One instance of a smoke test: where it was claimed (host, cell, position of the claim), the alternates, the
    position at which the claim was given back, and the milliseconds from the call to the answer."""

    instance: str
    cell: str
    host: str
    alternates: tuple
    claimed_at: int
    released_at: int
    took_ms: float


class Smoke:
    """``logs`` and ``projections`` are those of all cells, by name; ``operator`` is the name under which claims are
    given back."""

    def __init__(self, logs, projections, operator: str):
        self._logs = logs
        self._states = {cell: state for cell, state in projections.items() if cell != "cell0"}
        self._operator = operator

    def run(self, bus, topic: str, asked: Asked, count: int, timeout: float) -> list[Tested]:
        """Ask a scheduler for ``count`` instances, and give the claims back, also after an error. NovaSchedError if the
        scheduler does not answer within ``timeout`` seconds, finds no host, or a claim is not in the logs."""
        for state in self._states.values():
            check_level(state, "a smoke test")
        uuids = [str(uuid.uuid4()) for _ in range(count)]
        request_id = f"req-{uuid.uuid4()}"
        spec = spec_of(asked, uuids[0])
        spec.num_instances = count
        # The spec has no user, so the claims get that of the context.
        asking = {"request_id": request_id, "project_id": asked.project, "user_id": self._operator, "is_admin": True}
        context = RequestContext.from_dict(asking)
        released, began = {}, SYSTEM.monotonic()
        try:
            answer = SchedulerAPI(bus, topic).select_destinations(context, spec, uuids).result(timeout)
            took_ms = (SYSTEM.monotonic() - began) * 1e3
        except TimeoutError:
            raise errors.NoAnswer(
                f"no scheduler answered {request_id} on the topic {topic} within {timeout:g} s; check the schedulers "
                f"and the broker. One that answers later leaves its claim: nova-sched-replay show {request_id} shows it"
            ) from None
        except NovaException as fault:
            raise errors.NovaSchedError(
                f"the scheduler answers {request_id}: {' '.join(str(fault).split())} "
                f"(nova-sched-replay explain {request_id} says why)"
            ) from None
        finally:
            released = self._release(uuids)
        missing = [instance for instance in uuids if instance not in released]
        if missing:
            raise errors.NovaSchedError(
                f"the scheduler answered {request_id}, and the claim of {missing[0]} is in none of the logs of "
                f"{', '.join(sorted(self._states))}; name the logs of all cells"
            )
        return [
            Tested(
                instance,
                *released[instance][:2],
                tuple(selection.service_host for selection in selections[1:]),
                *released[instance][2:],
                round(took_ms, 2),
            )
            for instance, selections in zip(uuids, answer, strict=True)
        ]

    def _release(self, uuids):
        """Give back the claims of instances that are in the logs now: instance -> (cell, host, position of the claim,
        position of its end)."""
        found = {}
        for cell, state in self._states.items():
            log = self._logs[cell]
            for position, record in decoded_records(log, state.position + 1):
                state.fold([(position, record)])
            held = [entry for instance in uuids for entry in state.consumers.get(instance, ())]
            if not held:
                continue
            ends = [events.ClaimReleased(entry.consumer_uuid, entry.claim_uuid, REASON) for entry in held]
            try:
                position = published(log, state, self._operator, *ends)
            except errors.NovaSchedError as fault:
                raise type(fault)(
                    f"{fault}; the room stays claimed on {held[0].host}: a claim on a host of an agent expires, one on "
                    f"a host of Nova ends with: openstack resource provider allocation delete {held[0].consumer_uuid}"
                ) from None
            left = [entry.host for entry in held if entry.consumer_uuid in state.consumers]
            if left:
                raise errors.NovaSchedError(
                    f"the claim on {left[0]} of {cell} is still held after its end; see its log"
                )
            for entry in held:
                found[entry.instance_uuid] = cell, entry.host, entry.position, position
        return found
