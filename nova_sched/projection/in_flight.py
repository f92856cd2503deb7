"""The claims of this process that are not read back from the log yet.

Decisions count these claims as if they were accepted, so that a scheduler
does not collide with itself; the fold does not look at them.
"""

from collections import Counter

from nova_sched.projection.devices import guest_of
from nova_sched.projection.ledger import CLAIMED, Entry, GroupIndex
from nova_sched.projection.provider_columns import touch_tree
from nova_sched.projection.table import HostTable
from rpc_api.events import ClaimProposed


class InFlight:
    """Claims on their way through the log, held in the table's ``held`` and ``held_claims`` columns
    and in a group index of their own."""

    def __init__(self, table: HostTable) -> None:
        self.table = table
        #: Claim uuid -> its entry.
        self.claims: dict[str, Entry] = {}
        self.groups = GroupIndex()
        #: (provider uuid, resource class) -> amount held.
        self._held: dict[tuple[str, str], int] = {}
        #: Host -> number of claims held.
        self._hosts: Counter[str] = Counter()

    def add(self, claim: ClaimProposed) -> None:
        """Hold the resources of a ClaimProposed."""
        entry = Entry(
            claim.consumer_uuid,
            claim.instance_uuid,
            claim.project_id,
            claim.host,
            claim.allocations,
            claim.rule,
            claim.claim_uuid,
            CLAIMED,
            -1,
            0,
            claim.guest,
        )
        self.claims[claim.claim_uuid] = entry
        self.groups.add(entry)
        self._hold_guest(entry)
        self._count(entry, +1)

    def remove(self, claim_uuid: str) -> None:
        """Drop a claim that was read back or given up. Unknown claims are ignored."""
        entry = self.claims.pop(claim_uuid, None)
        if entry is not None:
            self.groups.remove(entry)
            self._let_go_of_guest(entry)
            self._count(entry, -1)

    def count_again(self) -> None:
        """Write the columns again, after rows were dropped and added, or a uuid passed to another row."""
        table = self.table
        for index, row in zip(*(places.tolist() for places in table.held.nonzero()), strict=True):
            table.hold(row, index, -int(table.held[index, row]))
            touch_tree(table, int(table.root[row]), use_only=True)
        for (provider_uuid, resource_class), held in self._held.items():
            self._set(provider_uuid, resource_class, held)
        if table.held_guests:
            table.held_guests.clear()
            for entry in self.claims.values():
                self._hold_guest(entry)
        table.held_claims[:] = 0
        for host in self._hosts:
            self._set_claims(host)

    def _hold_guest(self, entry: Entry) -> None:
        root = self.table.row_of_host.get(entry.host)
        if entry.guest is not None and root is not None:
            guest = guest_of(entry.guest)
            if guest.numa or guest.pci:
                self.table.held_guests.setdefault(root, {})[entry.claim_uuid] = guest
                self.table.touched.touch_use(root)

    def _let_go_of_guest(self, entry: Entry) -> None:
        held = self.table.held_guests
        root = self.table.row_of_host.get(entry.host)
        if root is not None and root in held and held[root].pop(entry.claim_uuid, None) is not None:
            self.table.touched.touch_use(root)
            if not held[root]:
                del held[root]

    def _count(self, entry: Entry, sign: int) -> None:
        for provider_uuid, resource_class, amount in entry.allocations:
            key = (provider_uuid, resource_class)
            held = self._held.get(key, 0) + sign * amount
            if held:
                self._held[key] = held
            else:
                self._held.pop(key, None)
            self._set(provider_uuid, resource_class, held)
        self._hosts[entry.host] += sign
        if not self._hosts[entry.host]:
            del self._hosts[entry.host]
        self._set_claims(entry.host)

    def _set_claims(self, host: str) -> None:
        row = self.table.row_of_host.get(host)
        if row is not None:
            self.table.held_claims[row] = self._hosts[host]
            self.table.touched.touch_use(row)

    def _set(self, provider_uuid: str, resource_class: str, held: int) -> None:
        table = self.table
        row = table.row_of_uuid.get(provider_uuid)
        if row is not None:
            # The row may be another one by now, so the column is set, not added to.
            index = table.class_index(resource_class)
            table.hold(row, index, held - int(table.held[index, row]))
            touch_tree(table, int(table.root[row]), use_only=True)
