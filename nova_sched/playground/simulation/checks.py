"""The invariants of every step of a simulation, computed from the logs alone and not from the processes' states."""

import contextlib
from collections import Counter

from nova_sched.playground.simulation.write_checks import Before
from nova_sched.projection import provider_tree
from nova_sched.projection.digest import state_digest
from nova_sched.projection.ledger import CLAIMED, RUNNING, SPREAD, TOGETHER
from nova_sched.projection.projection import Projection
from nova_sched.projection.write_handlers import WRITE_HANDLERS
from rpc_api import events
from rpc_api.digest import pool_key
from rpc_api.errors import NovaSchedError
from rpc_api.wording import number_of

#: Number of positions between two comparisons of digests, and between two counts of what is held on hosts.
SAMPLE = 16


class Broken(NovaSchedError):
    """An invariant does not hold."""


class Oracle(Projection):
    """The fold of a log while it is appended to; it calls ``on_accepted`` for each accepted claim, and ``on_written``
    for each API write."""

    def __init__(self, cell, on_accepted, on_written, has_forgotten=False):
        super().__init__(cell)
        self.on_accepted, self.on_written = on_accepted, on_written
        #: Whether this log, or the log before it, lost records.
        self.has_forgotten = has_forgotten

    def forget(self):
        super().forget()
        self.has_forgotten = True

    def _fold_event(self, position, index, event, is_older, outcomes, noted):
        count, before = len(outcomes), Before(self, event) if event.name in WRITE_HANDLERS else None
        self.writes = []
        super()._fold_event(position, index, event, is_older, outcomes, noted)
        if len(outcomes) > count and outcomes[-1].reason is None:
            self.on_accepted(self, position, event.data)
        if before is not None:
            self.on_written(self, position, before, self.writes[-1].reason is None)


class Checks:
    """The checks of one simulated cloud. Each raises :class:`Broken`."""

    def __init__(self, cells):
        self.counts = Counter()
        self.oracles = {}
        #: (Cell, epoch, position) -> digest.
        self._digests = {}
        #: Claim uuid -> {(epoch, times rebased): (cell, position)} of the logs that have accepted it.
        self._accepted = {}
        #: (Claim uuid, cell, position) of what a log had accepted and lost: a scheduler may have read it before.
        self._lost = set()
        for cell in cells:
            self.begun(cell)

    # --- logs ----------------------------------------------------------------------------------------------------

    def begun(self, cell):
        """Note that the log of a cell is another one from now on."""
        self.oracles[cell] = Oracle(cell, self._claim_accepted, self._written, has_forgotten=cell in self.oracles)

    def lost(self, cell, last, records):
        """The log of a cell lost all records after a position; ``records`` are all up to there since it was begun."""
        self.counts["lost tails"] += 1
        epoch = self.oracles[cell].epoch
        self._digests = {
            key: digest for key, digest in self._digests.items() if key[:2] != (cell, epoch) or key[2] <= last
        }
        for claim_uuid, accepted in self._accepted.items():
            for incarnation, (where, position) in list(accepted.items()):
                if where == cell and incarnation[0] == epoch and position > last:
                    self._lost.add((claim_uuid, cell, position))
                    del accepted[incarnation]
        # The fences and anchors that it lost are not made again: see docs/design/0009-recovery.md.
        oracle = self.oracles[cell] = Oracle(cell, lambda *claim: None, lambda *write: None, has_forgotten=True)
        oracle.fold(records)
        oracle.on_accepted, oracle.on_written = self._claim_accepted, self._written

    def record(self, cell, position, record):
        """Check an appended record."""
        oracle = self.oracles[cell]
        oracle.fold([(position, record)])
        self.counts["events"] += len(record.events)
        if position % SAMPLE == SAMPLE - 1:
            if oracle.rules.use_is_never_dropped:
                self._check_use(oracle, position)
            self._digests[cell, oracle.epoch, position] = state_digest(oracle)

    @contextlib.contextmanager
    def unchanged(self, oracle):
        """Check that records that are appended inside do not count."""
        before = state_digest(oracle)
        yield
        self.counts["forged records"] += 1
        if state_digest(oracle) != before:
            raise Broken(f"{oracle.cell} {oracle.position}: a forged record changed the state")

    def _claim_accepted(self, oracle, position, claim):
        self.counts["claims accepted"] += 1
        accepted = self._accepted.setdefault(claim.claim_uuid, {})
        # A rebased log has forgotten the marks of producers, and may get an event again.
        incarnation = oracle.epoch, oracle.counts["LogRebased"]
        if incarnation in accepted:
            raise Broken(f"{oracle.cell} {position}: the claim {claim.claim_uuid} was accepted twice")
        accepted[incarnation] = (oracle.cell, position)
        self._check_room(oracle, position, claim)
        if claim.guest is not None:
            self._check_guest(oracle, position, claim)
        if claim.rule is not None:
            self._check_group(oracle, position, claim.rule)

    def _written(self, oracle, position, before, accepted):
        self.counts["writes accepted" if accepted else "writes refused"] += 1
        fault = before.fault(oracle, accepted)
        if fault:
            raise Broken(f"{oracle.cell} {position}: {fault}")

    def _check_use(self, oracle, position):
        """Check that all that is held on a host is counted on it, if it has the resource class at all."""
        table = oracle.table
        for host in oracle.hosts.values():
            held = Counter()
            for entry in host.entries.values():
                for provider_uuid, resource_class, amount in entry.allocations:
                    if oracle.trees.get(provider_uuid, host) is host:
                        held[resource_class] += amount
            rows = list(host.rows.values())
            for resource_class, amount in held.items():
                index = table.classes.get(resource_class)
                if index >= 0 and table.step_size[index, rows].any() and table.used[index, rows].sum() != amount:
                    raise Broken(
                        f"{oracle.cell} {position}: {amount} {resource_class} is held on {host.name}, and "
                        f"{table.used[index, rows].sum()} is counted"
                    )

    def _check_room(self, oracle, position, claim):
        """Check that the providers of this claim are not over-committed."""
        host = oracle.hosts[claim.host]
        wanted = {(allocation.provider_uuid, allocation.resource_class) for allocation in claim.allocations}
        held = Counter()
        for entry in host.entries.values():
            for provider_uuid, resource_class, amount in entry.allocations:
                held[provider_uuid, resource_class] += amount
        for provider in provider_tree.tree_of(host).inventory.providers:
            for inventory in provider.inventories:
                if (provider.uuid, inventory.resource_class) in wanted:
                    capacity = int((inventory.total - inventory.reserved) * inventory.allocation_ratio)
                    if held[provider.uuid, inventory.resource_class] > capacity:
                        raise Broken(
                            f"{oracle.cell} {position}: a claim on {claim.host} was accepted that makes "
                            f"{held[provider.uuid, inventory.resource_class]} {inventory.resource_class} of {capacity}"
                        )

    def _check_guest(self, oracle, position, claim):
        """Check that the CPUs, pages and devices of this claim exist, and that no other claim has them."""
        self.counts["claims with devices"] += 1
        host = oracle.hosts[claim.host]
        there = provider_tree.read(host.inventory).inventory
        guests = {uuid: events.thaw("Guest", entry.guest) for uuid, entry in host.entries.items() if entry.guest}
        own = guests[claim.consumer_uuid]
        cpus = {cpu for cell in there.numa_cells for cpu in cell.dedicated_cpus}
        pinned = [cpu for guest in guests.values() for use in guest.numa for _, cpu in use.pins]
        taken = {cpu for use in own.numa for _, cpu in use.pins}
        if not taken <= cpus or any(pinned.count(cpu) > 1 for cpu in taken):
            raise Broken(
                f"{oracle.cell} {position}: a claim on {claim.host} was accepted for CPUs that are not its own"
            )
        for use in own.numa:
            cell = next(cell for cell in there.numa_cells if cell.id == use.cell)
            for pages in cell.pages:
                held = sum(
                    -(-node.memory_mb * 1024 // pages.size_kb)
                    for guest in guests.values()
                    for node in guest.numa
                    if (node.cell, node.page_kb or cell.pages[0].size_kb) == (cell.id, pages.size_kb)
                )
                if pages.size_kb == (use.page_kb or cell.pages[0].size_kb) and held > pages.total - pages.reserved:
                    raise Broken(
                        f"{oracle.cell} {position}: a claim on {claim.host} was accepted that makes {held} "
                        f"pages of {pages.total}"
                    )
        for use in own.pci:
            count = next(pool.count for pool in there.pci_pools if pool_key(pool) == use.pool)
            if (
                sum(device.count for guest in guests.values() for device in guest.pci if device.pool == use.pool)
                > count
            ):
                raise Broken(
                    f"{oracle.cell} {position}: a claim on {claim.host} was accepted for a PCI device too many"
                )

    def _check_group(self, oracle, position, rule):
        members = list(oracle.groups.entries(rule.group_uuid))
        if rule.policy == SPREAD:
            partitions = {entry.rule.partition for entry in members if entry.rule.domain == rule.domain}
            if len(partitions) > rule.limit:
                raise Broken(
                    f"{oracle.cell} {position}: {len(partitions)} of group {rule.group_uuid} in "
                    f"{rule.domain}, limit {rule.limit}"
                )
        elif rule.policy == TOGETHER:
            # Only claimed instances count: a scheduler is not responsible for an instance without a claim.
            hosts = {
                entry.host
                for oracle in self.oracles.values()
                for entry in oracle.groups.entries(rule.group_uuid)
                if entry.claim_uuid is not None
            }
            if len(hosts) > 1 and any(oracle.has_forgotten for oracle in self.oracles.values()):
                # A log that was recreated or rebased has lost its fences: see docs/design/0009-recovery.md.
                self.counts["groups split by a lost log"] += 1
            elif len(hosts) > 1:
                raise Broken(
                    f"{oracle.cell} {position}: the affinity group {rule.group_uuid} is on {', '.join(sorted(hosts))}"
                )

    # --- processes -----------------------------------------------------------------------------------------------

    @staticmethod
    def parts(cell, records):
        """Yield the parts of a batch that end at positions where digests are compared; an empty batch is one part."""
        part = []
        for record in records:
            part.append(record)
            if record[0] % SAMPLE == SAMPLE - 1:
                yield part
                part = []
        if part or not records:
            yield part

    def folded(self, name, cell, projection):
        """Check the state of a process that folded a log up to here."""
        expected = self._digests.get((cell, projection.epoch, projection.position))
        if expected is not None and projection.whole:
            self.counts["digests compared"] += 1
            if state_digest(projection) != expected:
                raise Broken(f"{name} has another state of {cell} at {projection.position} than its log")

    def acknowledged(self, selections):
        """Check an answer of a scheduler. Return a function that raises if the answer was wrong."""
        self.counts["selections"] += len(selections)
        empty = not all(selections)
        wrong = [
            selection[0]
            for selection in selections
            if selection
            and (selection[0].cell, selection[0].position)
            not in self._accepted.get(selection[0].claim_uuid, {}).values()
            and (selection[0].claim_uuid, selection[0].cell, selection[0].position) not in self._lost
        ]

        def look():
            if empty:
                raise Broken("a request was answered without a host for each instance")
            for chosen in wrong:
                raise Broken(
                    f"{chosen.instance_uuid} was given {chosen.host} of {chosen.cell} without an accepted claim"
                )

        return look

    def no_faults(self, name, counts):
        """Check that a process met no internal fault."""
        if counts["faults"]:
            raise Broken(f"{name} met {number_of(counts['faults'], 'fault')} of its own")

    def fault(self, fault):
        """Note an answer that cannot be read."""
        raise Broken(f"an answer cannot be read: {fault!r}")

    def ended(self, outcome):
        """A build has ended."""
        self.counts[outcome.outcome] += 1

    # --- the end -------------------------------------------------------------------------------------------------

    def quiet(self, cloud):
        """Check the end, after all repairs: no claim is left over, and all states agree with the running instances."""
        for cell, oracle in self.oracles.items():
            left = [entry for entries in oracle.consumers.values() for entry in entries if entry.state is CLAIMED]
            if left:
                raise Broken(
                    f"{cell}: the claim of {left[0].consumer_uuid} on {left[0].host} of position "
                    f"{left[0].position} outlives its end"
                )
        for scheduler in cloud.schedulers:
            engine = scheduler.engine
            self._agrees(scheduler.name, engine.world.projections)
            held = int(engine.world.table.held.sum()) + len(engine.world.table.held_guests)
            if engine.open_asks() or held or any(map(engine.claims.under_way_count, engine.cells)):
                raise Broken(
                    f"{scheduler.name} still has {number_of(len(engine.open_asks()), 'request')} and holds {held}"
                )
            closed = [cell for cell in cloud.cells if engine.world.table.cell_closed.get(cell)]
            if closed:
                raise Broken(f"{scheduler.name} schedules nothing to {closed[0]}")
        for conductor in cloud.conductors:
            self._agrees(conductor.name, {conductor.cell: conductor.engine.projection})
        for writer in cloud.writers:
            self._agrees(writer.name, {writer.cell: writer.projection})
        for agent in cloud.agents:
            self._runs(agent)

    def _agrees(self, name, projections):
        for cell, projection in projections.items():
            oracle = self.oracles[cell]
            if (projection.epoch, projection.position) != (oracle.epoch, oracle.position):
                raise Broken(f"{name} is at {projection.position} of {cell}, which ends at {oracle.position}")
            if state_digest(projection) != state_digest(oracle):
                raise Broken(f"{name} has another state of {cell} at its end, {oracle.position}")

    def _runs(self, agent):
        oracle = self.oracles[agent.cell]
        for name, driver in agent.drivers.items():
            host = oracle.hosts.get(name)
            if host is None or host.lost:
                raise Broken(f"{agent.cell}: {name} is {'lost' if host else 'unknown'}, and its agent is running")
            runs = {consumer.instance_uuid for consumer in driver.running()}
            said = {entry.instance_uuid for entry in host.entries.values() if entry.state is RUNNING}
            if runs != said:
                raise Broken(
                    f"{agent.cell}: {name} runs {number_of(len(runs), 'instance')}, its log says {len(said)} "
                    f"(differing in {min(runs ^ said)})"
                )
