"""The open requests of a scheduler: each instance is decided and claimed, and each request is answered once."""

import logging

from nova_sched.projection.claim_checks import generation_to_add_to
from nova_sched.projection.state import CELL0
from nova_sched.request.server_group import as_known, has_no_uuid
from nova_sched.scheduler.claim_life import Event, ImpossibleEvent
from nova_sched.scheduler.evidence import decision_event, positions_of
from nova_sched.scheduler.leaving import leaving
from nova_sched.scheduler.measures import ANSWER, DECIDE, QUEUE
from nova_sched.scheduler.placing import all_placed, answer_of, placed
from nova_sched.selection.decide import claim_of, decide, unreachable_cells
from nova_sched.selection.needed_members import with_needed_members
from rpc_api import errors, log_context
from rpc_api.wording import number_of

LOG = logging.getLogger(__name__)

NOT_ENOUGH_HOSTS = "There are not enough hosts available."


class Requests:
    """``engine`` is the Engine that these requests belong to: they are decided on its world by its policy."""

    def __init__(self, engine):
        self._engine = engine
        #: id of an Ask -> Ask that is not answered yet.
        self._open = {}
        #: Instances that found no host while the scheduler does not know all hosts.
        self._unplaced = []

    def open(self) -> list:
        """The Asks that were not answered yet."""
        return list(self._open.values())

    def accepted_claims(self, cell) -> list:
        """The accepted claims in a cell that open requests depend on."""
        return [
            instance.claim
            for ask in self._open.values()
            for instance in ask.instances
            if instance.accepted and instance.cell == cell
        ]

    # --- decisions -----------------------------------------------------------------------------------------------

    def add(self, ask) -> None:
        """Decide a request and publish its claims."""
        self._open[id(ask)] = ask
        engine = self._engine
        engine.measures.step(ask, QUEUE, ask.arrived_at, engine.clock.monotonic())
        of_cell0 = engine.world.projections[CELL0]
        if of_cell0.is_too_new:
            # Nothing may be published there, so the refusal is not recorded either.
            self.fail(ask, errors.LogUnavailable(str(of_cell0.unknown_level())), recorded=True)
            return
        if has_no_uuid(ask.request):
            ask.request = as_known(ask.request, engine.world)
        if ask.request.check_only:
            self._or_fail(ask, self._check_only, ask)
            return
        for instance in ask.instances:
            self.decide(instance)

    def decide(self, instance) -> None:
        """Decide for an instance, unless its request is over."""
        if not instance.ask.over:
            self._or_fail(instance.ask, self._decide_now, instance)

    def decide_again(self, instance) -> None:
        """Decide for an instance whose last claim did not hold."""
        instance.attempt += 1
        self.decide(instance)

    def decide_unplaced(self) -> None:
        """Decide again for instances that found no host while the scheduler did not know all hosts."""
        unplaced, self._unplaced = self._unplaced, []
        for instance in unplaced:
            self.decide(instance)

    def _decide_now(self, instance):
        engine, ask = self._engine, instance.ask
        request, anchor = engine.anchors.anchored(instance)
        request = with_needed_members(request, engine.world, engine.policy, instance.uuid)
        request = leaving(request, engine.world, instance.uuid)
        positions = self._positions()
        started = engine.clock.monotonic()
        decision = decide(
            engine.world,
            engine.chain,
            request,
            instance.uuid,
            engine.policy,
            instance.seed,
            instance.attempt,
            ask.alternates,
        )
        instance.decision = decision
        engine.counts["decisions"] += 1
        took_ns = self._decided(instance, started)
        if not decision.candidates:
            if engine.is_unsettled():
                instance.cell = None
                self._unplaced.append(instance)
            elif not engine.anchors.waits_for_fence(instance, anchor):
                self._refuse(instance, request, positions, took_ns)
            return
        table, chosen = engine.world.table, decision.candidates[0]
        instance.cell = table.cells.values[table.cell[chosen.row]]
        if chosen.companion is not None or not engine.anchors.waits_for_anchor(instance, anchor, chosen.host):
            self._claim(instance, request, positions, took_ns)

    def _decided(self, instance, started):
        """Count the decision of an instance, which began at ``started``; returns how long it took, in nanoseconds."""
        measures, decision, ended = self._engine.measures, instance.decision, self._engine.clock.monotonic()
        measures.step(
            instance.ask,
            DECIDE,
            started,
            ended,
            instance,
            attempt=instance.attempt,
            hosts=decision.hosts_total,
            survivors=decision.survivors,
        )
        measures.refused_by_filters(decision.refusals)
        return int((ended - started) * 1e9)

    def _claim(self, instance, request, positions, took_ns):
        """Publish the claim of a decision."""
        engine, chosen = self._engine, instance.decision.candidates[0]
        projection = engine.world.projections[instance.cell]
        generation = generation_to_add_to(projection, instance.uuid, request.ignore_hosts)
        proposed = claim_of(engine.new_uuid(), instance.uuid, request, chosen, generation, instance.ask.caller)
        instance.placed = all_placed(engine.world, engine.policy, instance, proposed.claim_uuid)
        # The claim and its evidence together, or neither.
        epoch, sequence = engine.publish(
            instance.cell,
            proposed,
            decision_event(engine.policy, instance, request, positions, took_ns, proposed.claim_uuid),
        )
        instance.published_at = engine.clock.monotonic()
        engine.claims.propose(instance.cell, proposed, (epoch, sequence - 1), instance)

    def _positions(self):
        engine = self._engine
        return positions_of(engine.world.projections, engine.claims, engine.world.table.cell_closed)

    def _check_only(self, ask):
        """A rebuild: the host must pass the filters; nothing is claimed."""
        engine, answer = self._engine, []
        for instance in ask.instances:
            request = with_needed_members(ask.request, engine.world, engine.policy, instance.uuid)
            started = engine.clock.monotonic()
            instance.decision = decide(
                engine.world, engine.chain, request._replace(groups=()), instance.uuid, engine.policy, instance.seed
            )
            self._decided(instance, started)
            if not instance.decision.candidates:
                self._refuse(instance, request, self._positions(), 0)
                return
            chosen = instance.decision.candidates[0]
            answer.append([placed(engine.world, engine.policy, instance, chosen, None)])
        self._finish(ask, answer, engine.clock.monotonic())

    # --- answers -------------------------------------------------------------------------------------------------

    def answer_if_complete(self, ask) -> None:
        """Answer a request, if all its claims are accepted."""
        if not ask.over and all(instance.accepted for instance in ask.instances):
            self._or_fail(ask, self._answer, ask)

    def _answer(self, ask):
        engine = self._engine
        began = engine.clock.monotonic()
        answer = answer_of(engine.world, engine.chain, engine.policy, ask)
        for instance in ask.instances:
            engine.claim_driver.happened(instance.claim, Event.REQUEST_ANSWERED)
        self._finish(ask, answer, began)

    def _finish(self, ask, answer, began):
        ask.over = True
        self._open.pop(id(ask), None)
        ask.future.set_result(answer)
        now, measures = self._engine.clock.monotonic(), self._engine.measures
        measures.step(ask, ANSWER, began, now)
        measures.answered(ask, now)

    def _or_fail(self, ask, function, *arguments):
        """Run a step of one request; an error fails only that request."""
        with log_context.of(ask.context):
            self._or_fail_now(ask, function, *arguments)

    def _or_fail_now(self, ask, function, *arguments):
        try:
            function(*arguments)
        except ImpossibleEvent:
            raise
        except errors.PluginFault as fault:
            LOG.error("request %s is not decided: %s", ask.request.request_id, fault)
            LOG.debug("the error that the class of the deployment raised", exc_info=fault.__cause__)
            self._engine.counts["plugin_faults"] += 1
            self.fail(ask, fault)
        except errors.NovaSchedError as fault:
            self.fail(ask, fault)
        except Exception as fault:
            LOG.error("request %s met a fault of the scheduler: %r", ask.request.request_id, fault)
            LOG.debug("the fault of the scheduler", exc_info=True)
            self._engine.counts["faults"] += 1
            self.fail(
                ask,
                errors.NovaSchedError(
                    f"request {ask.request.request_id} met a fault of the scheduler ({fault!r}); see its log"
                ),
            )

    def fail(self, ask, fault, recorded=False) -> None:
        """Answer with an error. All claims of the request are released, now or when they are read back. The error is
        recorded here, unless a decision has ``recorded`` it."""
        if ask.over:
            return
        engine = self._engine
        ask.over = True
        self._open.pop(id(ask), None)
        for instance in ask.instances:
            if instance.claim is not None:
                engine.claim_driver.happened(instance.claim, Event.REQUEST_FAILED)
        with log_context.of(ask.context):
            if not recorded:
                engine.on_refused(
                    ask.request.request_id,
                    [instance.uuid for instance in ask.instances],
                    getattr(fault, "summary", "") or str(fault),
                )
            ask.future.set_exception(fault)
        engine.measures.answered(ask, engine.clock.monotonic(), fault)

    def fail_late(self, now, timeout) -> None:
        """Fail requests that arrived ``timeout`` seconds ago or earlier, by a monotonic clock that shows ``now``."""
        for ask in [ask for ask in self._open.values() if now - ask.arrived_at >= timeout]:
            waiting = sorted({instance.cell or "any cell" for instance in ask.instances if not instance.accepted})
            self.fail(
                ask,
                errors.ClaimTimeout(
                    f"claims of {ask.request.request_id} in {', '.join(waiting)} were not read back within "
                    f"{timeout} s; check the log of that cell"
                ),
            )

    def _refuse(self, instance, request, positions, took_ns):
        """No host for an instance: its request fails."""
        engine, summary = self._engine, instance.decision.summary
        asked = instance.ask.instances
        several = (
            f", number {asked.index(instance) + 1} of {number_of(len(asked), 'instance')} (all or none are placed)"
            if len(asked) > 1
            else ""
        )
        unreachable = self._unreachable(request, instance.decision)
        fault = (
            errors.NoHostFound(NOT_ENOUGH_HOSTS, summary)
            if not unreachable
            else errors.CellsUnreachable(
                f"nothing can be scheduled to {', '.join(unreachable)}, as the log there cannot be read or appended "
                f"to, and no other cell has a host ({summary}); check that log"
            )
        )
        LOG.info(
            "No valid host for %s of %s%s: %s",
            instance.uuid,
            request.request_id,
            several,
            fault if unreachable else summary,
        )
        engine.counts["cells_unreachable" if unreachable else "no_valid_host"] += 1
        engine.outbox.post(CELL0, decision_event(engine.policy, instance, request, positions, took_ns))
        self.fail(instance.ask, fault, recorded=True)

    def _unreachable(self, request, decision):
        """Cells that may have a host for a request that found none, and cannot be reached now."""
        world, cells = self._engine.world, self._engine.cells
        closed = [cell for cell, is_closed in world.table.cell_closed.items() if is_closed]
        unknown = [cell for cell in cells if not world.projections[cell].hosts]
        return unreachable_cells(request, cells, closed, unknown, decision.refusals)
