"""What a filter compared on one host, and the event that made it so: a table from a filter's name to who
can explain it.

An explaining function takes a :class:`Look` and the reason of a refusal (None where the filter let the host
pass), and gives a :class:`Finding`. Filters that are not in the table, those of deployers among them, are
explained by :func:`by_reason`.
"""

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from nova_sched.fit import pci
from nova_sched.fit import providers as fit
from nova_sched.hosts.aggregates import HostAggregates
from nova_sched.projection.devices import guest_of
from nova_sched.projection.topology import domains, zone_names
from nova_sched.replay.decisions.causes import Cause, event_at, since
from nova_sched.selection.scope import Scope

#: Of members, instances and the like so many are named.
NAMED = 3


class Finding(NamedTuple):
    """``text`` says in one line what was compared, ``values`` the same for programs. ``find()`` looks for the Cause
    (None where no event is known). ``near`` is the greater the nearer a refused host was to pass; None where that is
    no question of more or less."""

    text: str
    values: dict
    find: Callable[[], Cause | None] = lambda: None
    near: float | None = None


class Look:
    """One host of a scene, and what its request asked; ``request`` is as the filters saw it, with what options
    add to it."""

    def __init__(self, history, scene, row: int, request):
        self.history = history
        self.scene = scene
        self.row = row
        self.request = request
        self.table = scene.table
        self.host = scene.table.host_names[row]
        self.cell = scene.table.cells.values[scene.table.cell[row]]
        self.projection = scene.world.projections[self.cell]

    @cached_property
    def scope(self):
        """The request's :class:`~nova_sched.selection.scope.Scope`."""
        return Scope(
            self.table,
            list(self.scene.world.projections.values()),
            self.scene.world.in_flight,
            self.request,
            self.scene.recorded.decision.instance_uuid,
        )

    @property
    def log(self):
        return self.history.logs[self.cell]

    @property
    def entries(self):
        """What is held on the host, as the log has it."""
        return self.projection.hosts[self.host].entries.values()

    @cached_property
    def in_flight(self):
        """(Position or None, ClaimProposed) of the scheduler's own claims in flight on the host."""
        return [(position, claim) for cell, position, claim in self.scene.held if claim.host == self.host]

    # --- events ---------------------------------------------------------------------------------------------------

    def entry_event(self, entry, what) -> Cause:
        """The event with which an entry came."""

        def names(event):
            data = event.data
            consumer = getattr(data, "consumer", None)
            return (
                entry.instance_uuid in (getattr(data, "instance_uuid", None), getattr(consumer, "instance_uuid", None))
                or getattr(data, "host", None) == self.host
            )

        return event_at(self.log, self.cell, entry.position, what, names)

    def since(self, holds, what, *words) -> Cause | None:
        """Since when something is so of this host."""
        return since(self.log, self.cell, self.projection.position, (self.host.encode(), *words), holds, what)

    def reported(self, what="reported so by its agent"):
        """When the host reported the inventory that it has."""
        inventory = self.projection.hosts[self.host].inventory
        return self.since(
            lambda event: (
                event.data.inventory == inventory
                if event.name == "HostReported" and event.data.host == self.host
                else None
            ),
            what,
            b"HostReported",
        )

    def aggregate_event(self, uuids) -> Cause | None:
        """The last change of some aggregates."""
        found = []
        for cell, projection in self.scene.world.projections.items():
            for uuid in uuids:
                if uuid in projection.aggregates:
                    updated = projection.aggregates[uuid]
                    found.append(
                        since(
                            self.history.logs[cell],
                            cell,
                            projection.position,
                            (uuid.encode(), b"AggregateUpdated"),
                            lambda event, uuid=uuid, updated=updated: (
                                event.data == updated
                                if (event.name == "AggregateUpdated" and event.data.uuid == uuid)
                                else None
                            ),
                            f"aggregate {updated.name} became so",
                        )
                    )
        return max((one for one in found if one), key=lambda one: one.at_ns or 0, default=None)


def explain(look: Look, name: str, reason: str | None) -> Finding:
    """What the filter of a name compared on a host."""
    return EXPLAINERS.get(name, by_reason)(look, reason)


# --- whatever filter ------------------------------------------------------------------------------------------------


def by_reason(look, reason):
    """Of a filter that nothing more is known of: its own words."""
    return Finding(reason or "passed", {}, look.reported if reason else lambda: None)


# --- service --------------------------------------------------------------------------------------------------------


def service(look, reason):
    """Disabled, down, or in a cell that could not be read."""
    host = look.projection.hosts[look.host]
    status = host.status
    values = {
        "disabled": status.disabled,
        "disabled_reason": status.disabled_reason,
        "forced_down": status.forced_down,
        "lost": host.lost,
        "cell_closed": bool(look.table.cell_closed.get(look.cell)),
    }
    if reason == "cell unreachable":
        return Finding(f"the log of {look.cell} could not be read by the scheduler then", values)
    if reason == "disabled":
        if not status.disabled:
            return Finding("its provider has the trait COMPUTE_STATUS_DISABLED", values, look.reported)
        text = "service disabled" + (f": {status.disabled_reason}" if status.disabled_reason else "")
        return Finding(text, values, lambda: look.since(_disabled(look.host), "disabled", b"HostReported"))
    if reason == "down":
        return Finding(
            "forced down" if status.forced_down else "not heard of",
            values,
            lambda: look.since(_down(look.host), "forced down" if status.forced_down else "lost"),
        )
    return Finding("enabled and up", values)


def _disabled(host):
    return lambda event: (
        event.data.status.disabled if event.name == "HostReported" and event.data.host == host else None
    )


def _down(host):
    def holds(event):
        if getattr(event.data, "host", None) != host:
            return None
        return {"HostLost": True, "HostSeen": False}.get(
            event.name, event.data.status.forced_down if event.name == "HostReported" else None
        )

    return holds


# --- resources ------------------------------------------------------------------------------------------------------


def resources(look, reason):
    """Inventories, traits, aggregates and trees of providers, as the ResourceFilter and the close look see them."""
    request, classes = look.request, _asked(look.request)
    if reason is None:
        rooms = [_room(look, *one) for one in classes]
        return Finding(
            "; ".join(one.text for one in rooms) or "nothing asked", {"resources": [one.values for one in rooms]}
        )
    kind, _, trait = reason.partition("trait ")
    if trait and kind in ("", "forbidden "):
        has = sorted(_traits(look))
        text = f"it has {trait}" if kind else f"none of its providers has {trait}"
        return Finding(text, {"trait": trait, "traits": has}, look.reported)
    if reason == "traits or aggregates":
        names = sorted(
            {
                uuid
                for group in request.groups
                for uuids in (*group.member_of, group.forbidden_aggregates)
                for uuid in uuids
            }
        )
        return Finding(
            "no provider is where a group of the request must be"
            + (f" (aggregates {', '.join(names[:NAMED])})" if names else ""),
            {"aggregates": names},
            lambda: look.aggregate_event(names) or look.reported(),
        )
    if reason == "request groups together":
        rooms = [_room(look, *one) for one in classes]
        return Finding(
            "each group fits alone, not all together: " + "; ".join(one.text for one in rooms),
            {"resources": [one.values for one in rooms]},
            lambda: _last_of([one.find for one in rooms]),
        )
    names, together, where = reason.partition(" on ")
    if together:
        found = next(
            (
                group
                for group in request.groups
                if group.suffix and "+".join(one.resource_class for one in group.resources) == names
            ),
            None,
        )
        return by_reason(look, reason) if found is None else _on_providers(look, found, where)
    rooms = [_room(look, *one) for one in classes if one[1] == reason]
    return min(rooms, key=lambda one: one.near, default=None) or by_reason(look, reason)


def _on_providers(look, group, where):
    """All that a group asks must be free on one provider, or on each of several (``where``: "one
    provider", "2 providers")."""
    table = look.table
    wanted = 1 if where.startswith("one ") else int(where.split()[0])
    asked = [(one.resource_class, table.classes.get(one.resource_class), one.amount) for one in group.resources]
    rows = [
        row
        for row in table.trees[look.row]
        if fit.allowed(table, row, look.row, group)
        and any(index >= 0 and table.total[index, row] for _, index, _ in asked)
    ]
    shares = {
        row: min(
            1.0
            if table.row_has_room(row, index, amount)
            else min(table.free[index, row] / amount, 0.999)
            if index >= 0 and amount
            else 0.0
            for _, index, amount in asked
        )
        for row in rows
    }
    rows.sort(key=lambda row: -shares[row])
    free = [
        {
            "provider": table.provider_names[row],
            **{name: int(table.free[index, row]) if index >= 0 else 0 for name, index, _ in asked},
        }
        for row in rows
    ]
    text = "; ".join(
        f"{one['provider']} " + " ".join(f"{one[name]} {name}" for name, _, _ in asked) for one in free[:NAMED]
    )
    text = (
        f"{' + '.join(f'{amount} {name}' for name, _, amount in asked)} asked on "
        f"{'each of ' if wanted > 1 else ''}{where}, free: "
        f"{text or 'nothing'}{f' and {len(free) - NAMED} more' if len(free) > NAMED else ''}"
    )

    def taker():
        lacking = [
            (row, name, index, amount)
            for row in rows
            for name, index, amount in asked
            if not table.row_has_room(row, index, amount)
        ]
        found = [
            _taker(look, table.uuids[row], name, index < 0 or amount > table.capacity[index, row])
            for row, name, index, amount in lacking
        ]
        return max((one for one in found if one), key=lambda one: one.at_ns or 0, default=None)

    return Finding(
        text,
        {"asked": {name: amount for name, _, amount in asked}, "providers": wanted, "free": free},
        taker,
        sum(shares[row] for row in rows[:wanted]) / wanted,
    )


def _asked(request):
    """(Suffix, resource class, amount) of all groups."""
    return [(group, one.resource_class, one.amount) for group in request.groups for one in group.resources]


def _traits(look):
    table = look.table
    return {trait for trait in table.traits.values for row in table.trees[look.row] if table.row_has_trait(trait, row)}


def _room(look, group, resource_class, amount):
    """The provider of the host that has most left of a class, against an amount."""
    table, index = look.table, look.table.classes.get(resource_class)
    rows = [
        row
        for row in table.trees[look.row]
        if index >= 0 and table.total[index, row] and fit.allowed(table, row, look.row, group)
    ]
    if not rows:
        return Finding(
            f"no {resource_class} to be had here, {amount} asked",
            {"resource_class": resource_class, "asked": amount, "free": 0},
            look.reported,
            0.0,
        )
    row = max(rows, key=lambda one: (table.row_has_room(one, index, amount), table.free[index, one]))
    facts = {
        "resource_class": resource_class,
        "asked": amount,
        "free": int(table.free[index, row]),
        "capacity": int(table.capacity[index, row]),
        "total": int(table.total[index, row]),
        "reserved": int(table.reserved[index, row]),
        "ratio": float(table.ratio[index, row]),
        "used": int(table.used[index, row]),
        "in_flight": int(table.held[index, row]),
        "min_unit": int(table.min_unit[index, row]),
        "max_unit": int(table.max_unit[index, row]),
        "step_size": int(table.step_size[index, row]),
        "provider": table.provider_names[row],
    }
    text = f"{resource_class}: {facts['free']} free, {amount} asked ({facts['total']} total x {facts['ratio']:g}"
    text += f", {facts['reserved']} reserved" if facts["reserved"] else ""
    text += f", {facts['used']} used"
    text += f", {facts['in_flight']} in flight" if facts["in_flight"] else ""
    text += f"; on {facts['provider']}" if len(rows) > 1 else ""
    text += ")"
    unit = _unit_fault(facts)
    if facts["free"] >= amount and unit:
        return Finding(f"{text}; {unit}", facts, look.reported, facts["max_unit"] / amount)
    near = facts["free"] / amount if amount else 1.0
    provider = table.uuids[row]
    return Finding(text, facts, lambda: _taker(look, provider, resource_class, amount > facts["capacity"]), near)


def _unit_fault(facts):
    amount = facts["asked"]
    if amount > facts["max_unit"]:
        return f"at most {facts['max_unit']} at once"
    if amount < facts["min_unit"]:
        return f"at least {facts['min_unit']} at once"
    return f"only in steps of {facts['step_size']}" if amount % max(facts["step_size"], 1) else None


def _taker(look, provider, resource_class, never):
    """Who took of a class last; the host's own report where it never had enough."""
    if never:
        return look.reported("the host reported that it has no more")
    for position, claim in reversed(look.in_flight):
        for one in claim.allocations:
            if (one.provider_uuid, one.resource_class) == (provider, resource_class):
                what = (
                    f"last taken by instance {claim.instance_uuid} (a claim of the scheduler itself that was under way)"
                )
                return event_at(look.log, look.cell, position, what)
    takers = [
        entry
        for entry in look.entries
        if any((one.provider_uuid, one.resource_class) == (provider, resource_class) for one in entry.allocations)
    ]
    if not takers:
        return look.reported()
    last = max(takers, key=lambda entry: entry.position)
    return look.entry_event(last, f"last taken by instance {last.instance_uuid}")


def _last_of(finds):
    return max((one for one in (find() for find in finds) if one), key=lambda one: one.at_ns or 0, default=None)


_ROOM = {"CoreFilter": ("VCPU", "PCPU"), "RamFilter": ("MEMORY_MB",), "DiskFilter": ("DISK_GB",)}


def room_of(name):
    """The sum over a host that nova's old filters of cores, RAM and disk look at."""

    def explained(look, reason):
        request, table = look.request, look.table
        asked = {
            "CoreFilter": request.vcpus,
            "RamFilter": request.memory_mb,
            "DiskFilter": (0 if request.is_bfv else request.root_gb)
            + request.ephemeral_gb
            + -(-request.swap_mb // 1024),
        }[name]
        rows, parts, left = list(table.trees[look.row]), [], 0
        for resource_class in _ROOM[name]:
            index = table.classes.get(resource_class)
            if index >= 0 and table.total[index, rows].any():
                total = int(table.total[index, rows].sum())
                here = int(table.tree_scaled[index, look.row] - table.tree_taken[index, look.row])
                left += here
                parts.append(f"{resource_class} {here} free of {total} x {table.ratio_of(look.row, resource_class):g}")
        text = f"{', '.join(parts) or 'nothing reported'}, {asked} asked"
        classes = [one for one in _ROOM[name] if table.classes.get(one) >= 0]
        return Finding(
            text,
            {"asked": asked, "free": left},
            lambda: (
                _last_of([lambda one=one: _taker(look, table.uuids[look.row], one, False) for one in classes])
                if reason
                else None
            ),
            left / asked if asked else 1.0,
        )

    return explained


# --- where it may go ------------------------------------------------------------------------------------------------


def destination(look, reason):
    """Hosts that the request names."""
    request = look.request
    values = {
        "ignore_hosts": list(request.ignore_hosts),
        "force_hosts": list(request.force_hosts),
        "force_nodes": list(request.force_nodes),
        "target_host": request.target_host,
        "target_node": request.target_node,
    }
    wanted = [*request.force_hosts, *request.force_nodes, *filter(None, (request.target_host, request.target_node))]
    text = {None: "nothing in the request speaks against it", "ignored": "the request leaves it out"}.get(
        reason, f"the request wants {', '.join(wanted[:NAMED])}"
    )
    return Finding(text, values)


def cell(look, reason):
    """The cell that a request stays in."""
    return Finding(
        f"the host is in {look.cell}, the request stays in {look.request.target_cell}",
        {"cell": look.cell, "wanted": look.request.target_cell},
    )


def zone(look, reason):
    """Availability zones."""
    has = zone_names(look.table, look.scene.policy.default_availability_zone).get(look.row)
    uuids = [one.uuid for one in _aggregates(look) if "availability_zone" in one.metadata]
    return Finding(
        f"the host is in {has}, {look.request.availability_zone} asked",
        {"zone": has, "asked": look.request.availability_zone},
        lambda: look.aggregate_event(uuids) or look.reported(),
    )


def aggregates(look, reason):
    """What the host's aggregates say in their metadata."""
    mine = _aggregates(look)
    shown = "; ".join(f"{one.name} {dict(sorted(one.metadata.items()))}" for one in mine[:NAMED]) or "none"
    return Finding(
        f"{reason + ': ' if reason else ''}its aggregates: {shown}",
        {"aggregates": [{"uuid": one.uuid, "name": one.name, "metadata": dict(one.metadata)} for one in mine]},
        lambda: look.aggregate_event([one.uuid for one in mine]),
    )


def _aggregates(look):
    of_hosts = HostAggregates(look.table)
    return of_hosts.metadata[of_hosts.column[look.row]].aggregates


# --- load -----------------------------------------------------------------------------------------------------------


def load(column, what, option):
    """A count that has come to a limit."""

    def explained(look, reason):
        count, held = int(getattr(look.table, column)[look.row]), int(look.table.held_claims[look.row])
        of_aggregates = [one.metadata[option] for one in _aggregates(look) if option in one.metadata]
        limit = getattr(look.scene.policy, option)
        text = f"{count}{f' + {held} in flight' if held else ''} {what}, limit {limit}"
        text += f" (of its aggregates: {', '.join(of_aggregates)})" if of_aggregates else ""
        return Finding(
            text,
            {"count": count, "in_flight": held, "limit": limit, "of_aggregates": of_aggregates},
            lambda: _last_came(look),
            (limit - count - held) / max(limit, 1),
        )

    return explained


def _last_came(look):
    last = max(look.entries, key=lambda entry: entry.position, default=None)
    return look.entry_event(last, f"instance {last.instance_uuid} came last") if last else look.reported()


def metrics(look, reason):
    """What the host reports under the names of metrics."""
    names = [name for name, _ in look.scene.policy.metrics_weight_setting]
    has = {name: float(look.table.metric(name)[look.row]) for name in names}
    return Finding(
        ", ".join(f"{name} {'not reported' if value != value else f'{value:g}'}" for name, value in has.items()),
        {"metrics": {name: None if value != value else value for name, value in has.items()}},
        look.reported,
    )


# --- groups and other instances -------------------------------------------------------------------------------------


def group(look, reason):
    """Members of the request's server group on the host, or in its domain."""
    wanted, scope = look.request.server_group, look.scope
    domain = domains(look.table, wanted.scope).get(look.row) if wanted.policy == "fault-domain" else None
    entries = [
        entry
        for entry in scope.members
        if (entry.rule is not None and entry.rule.domain == domain if domain else entry.host == look.host)
    ]
    members = sorted({entry.instance_uuid for entry in entries})
    values = {
        "group": wanted.uuid,
        "policy": wanted.policy,
        "limit": wanted.limit,
        "members_here": members,
        "domain": domain,
    }
    where = f"in its {wanted.scope} {domain}" if domain else "here"
    partitions = {entry.rule.partition for entry in entries if entry.rule is not None}
    text = (
        f"{len(partitions)} {'partition' if len(partitions) == 1 else 'partitions'} of the group {where}, "
        f"limit {wanted.limit}"
        if domain
        else f"{len(members)} of the group here, limit {wanted.limit}"
    )
    if wanted.policy == "affinity":
        hosts = sorted(
            {*(entry.host for entry in scope.members if entry.instance_uuid != scope.instance_uuid), *wanted.hosts}
        )
        values["hosts"] = hosts
        text = f"the group is on {', '.join(hosts[:NAMED]) or 'no host yet'}"
        entries = [entry for entry in scope.members if entry.instance_uuid != scope.instance_uuid]
    if reason and wanted.policy == "fault-domain" and domain is None:
        return Finding(f"the host is in no {wanted.scope}", values)
    if members:
        text += f" ({', '.join(members[:NAMED])})" if wanted.policy != "affinity" else ""
    return Finding(text, values, lambda: _entry_anywhere(look, entries) if reason else None)


def _entry_anywhere(look, entries):
    """The event with which the last of some entries came, in whichever cell."""
    for cell, position, claim in look.scene.held:
        if any(entry.claim_uuid == claim.claim_uuid for entry in entries):
            return event_at(
                look.history.logs[cell],
                cell,
                position,
                f"member {claim.instance_uuid} was claimed on {claim.host} (by the scheduler itself, under way)",
            )
    last = max((entry for entry in entries if entry.position >= 0), key=lambda entry: entry.position, default=None)
    if last is None:
        return None
    cell = next((cell for cell, one in look.scene.world.projections.items() if last.host in one.hosts), look.cell)
    return event_at(look.history.logs[cell], cell, last.position, f"member {last.instance_uuid} came to {last.host}")


def instances(hint):
    """The instances that a hint names."""

    def explained(look, reason):
        named = look.request.scheduler_hints.get(hint, ())
        here = [entry for entry in look.entries if entry.instance_uuid in named]
        return Finding(
            f"{', '.join(sorted(entry.instance_uuid for entry in here)) or 'none of them'} here, {hint} "
            f"{', '.join(named[:NAMED])}",
            {"hint": list(named), "here": [entry.instance_uuid for entry in here]},
            lambda: _entry_anywhere(look, here),
        )

    return explained


# --- hypervisor and devices -----------------------------------------------------------------------------------------


def profile(look, reason):
    """What the host says of its hypervisor."""
    has = look.table.profiles.values[look.table.profile[look.row]]
    image = {
        key: value
        for key, value in look.request.image_properties.items()
        if key in ("hw_architecture", "img_hv_type", "hw_vm_mode", "img_hv_requested_version", "hw_maxphysaddr_bits")
    }
    wanted = {
        **image,
        **{
            key: value
            for key, value in look.request.extra_specs.items()
            if ":" not in key or key.startswith(("capabilities:", "hw:maxphysaddr"))
        },
    }
    supported = [" ".join(one) for one in has.supported_instances]
    return Finding(
        f"the host is {has.hypervisor_type} {has.hypervisor_version}, supports "
        f"{', '.join(supported[:NAMED]) or 'nothing named'}; "
        f"asked {', '.join(f'{key} {value}' for key, value in sorted(wanted.items())) or 'nothing'}",
        {
            "hypervisor_type": has.hypervisor_type,
            "hypervisor_version": has.hypervisor_version,
            "supported": supported,
            "asked": wanted,
        },
        look.reported,
    )


def numa(look, reason):
    """NUMA nodes of the host and what is left of them."""
    devices = look.table.devices(look.row)
    if devices is None or not devices.cells:
        return Finding("the host reports no NUMA nodes", {"nodes": []}, look.reported)
    nodes = []
    for node, use in zip(devices.cells, devices.cell_uses, strict=True):
        nodes.append(
            {
                "id": node.id,
                "dedicated_free": len(set(node.dedicated_cpus) - use.pinned),
                "shared": len(node.shared_cpus),
                "shared_used": use.shared_cpus,
                "memory_mb": node.memory_mb,
                "memory_mb_used": use.memory_mb,
                "pages_free": {
                    pages.size_kb: pages.total - pages.reserved - used
                    for pages, used in zip(node.pages, use.pages, strict=True)
                },
            }
        )
    asked = [
        {
            "shared": len(one.shared_cpus),
            "dedicated": len(one.dedicated_cpus),
            "memory_mb": one.memory_mb,
            "page_kb": one.page_kb,
        }
        for one in (look.request.numa.cells if look.request.numa else ())
    ]
    left = "; ".join(
        f"node {one['id']}: {one['dedicated_free']} dedicated CPUs free, "
        f"{one['shared_used']}/{one['shared']} shared used, "
        f"{one['memory_mb'] - one['memory_mb_used']} MB free"
        for one in nodes
    )
    wanted = " + ".join(f"{one['dedicated']} dedicated, {one['shared']} shared, {one['memory_mb']} MB" for one in asked)
    return Finding(
        f"{reason + ': ' if reason else ''}{left}; asked {wanted}",
        {"nodes": nodes, "asked": asked},
        lambda: _last_with_guest(look, "numa") or look.reported(),
    )


def devices(look, reason):
    """PCI pools of the host and what is left of them."""
    has = look.table.devices(look.row)
    asked = [{"name": pci.name_of(one), "count": one.count} for one in look.request.pci]
    wanted = ", ".join(f"{one['count']} {one['name']}" for one in asked)
    if has is None or not has.pools:
        return Finding(f"the host reports no PCI devices, asked {wanted}", {"pools": [], "asked": asked}, look.reported)
    pools = [
        {
            "vendor_id": pool.vendor_id,
            "product_id": pool.product_id,
            "numa_node": pool.numa_node,
            "free": has.free_in_pool(number),
            "count": pool.count,
        }
        for number, pool in enumerate(has.pools)
    ]
    left = ", ".join(f"{one['free']} of {one['count']} {one['vendor_id']}:{one['product_id']} free" for one in pools)
    return Finding(
        f"{left}; asked {wanted}",
        {"pools": pools, "asked": asked},
        lambda: _last_with_guest(look, "pci") or look.reported(),
        sum(one["free"] for one in pools),
    )


def _last_with_guest(look, of):
    """Who came last of those that have NUMA nodes, or PCI devices, of the host."""
    for position, claim in reversed(look.in_flight):
        if claim.guest is not None and getattr(guest_of(claim.guest), of):
            return event_at(look.log, look.cell, position, f"last taken by instance {claim.instance_uuid} (under way)")
    takers = [entry for entry in look.entries if entry.guest is not None and getattr(guest_of(entry.guest), of)]
    last = max(takers, key=lambda entry: entry.position, default=None)
    return None if last is None else look.entry_event(last, f"last taken by instance {last.instance_uuid}")


EXPLAINERS = {
    "ComputeFilter": service,
    "ComputeStatusFilter": service,
    "ResourceFilter": resources,
    "CoreFilter": room_of("CoreFilter"),
    "RamFilter": room_of("RamFilter"),
    "DiskFilter": room_of("DiskFilter"),
    "DestinationFilter": destination,
    "CellFilter": cell,
    "AvailabilityZoneFilter": zone,
    "AggregateImagePropertiesIsolation": aggregates,
    "AggregateInstanceExtraSpecsFilter": aggregates,
    "AggregateMultiTenancyIsolation": aggregates,
    "AggregateTypeAffinityFilter": aggregates,
    "IoOpsFilter": load("num_io_ops", "I/O operations", "max_io_ops_per_host"),
    "AggregateIoOpsFilter": load("num_io_ops", "I/O operations", "max_io_ops_per_host"),
    "NumInstancesFilter": load("num_instances", "instances", "max_instances_per_host"),
    "AggregateNumInstancesFilter": load("num_instances", "instances", "max_instances_per_host"),
    "MetricsFilter": metrics,
    "ServerGroupAntiAffinityFilter": group,
    "ServerGroupAffinityFilter": group,
    "ServerGroupFaultDomainFilter": group,
    "DifferentHostFilter": instances("different_host"),
    "SameHostFilter": instances("same_host"),
    "ComputeCapabilitiesFilter": profile,
    "ImagePropertiesFilter": profile,
    "NUMATopologyFilter": numa,
    "PciPassthroughFilter": devices,
}
