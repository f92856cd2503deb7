"""What is left of a resource class on a host, against what is asked, and which consumer took of it last."""

from nova_sched.filters.explanation import Finding
from nova_sched.fit import providers as fit
from nova_sched.projection.topology import providers_of


def asked_of(request) -> list:
    """(group, resource class, amount) of all groups of a request."""
    return [(group, asked.resource_class, asked.amount) for group in request.groups for asked in group.resources]


def room(look, group, resource_class: str, amount: int) -> Finding:
    """The provider of the host that has most left of a class, against an amount."""
    table, index = look.table, look.table.classes.get(resource_class)
    rows = [
        row
        for row in providers_of(table, look.row)
        if index >= 0 and table.total[index, row] and fit.allowed(table, row, look.row, group)
    ]
    if not rows:
        return Finding(
            f"no {resource_class} offered here, {amount} asked",
            {"resource_class": resource_class, "asked": amount, "free": 0},
            lambda traces: traces.reported(),
            0.0,
        )
    row = max(rows, key=lambda row: (table.row_has_room(row, index, amount), table.free[index, row]))
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
    is_own = look.is_own(row)
    facts["shared"] = not is_own
    if len(rows) > 1 or not is_own:
        text += f"; on {'' if is_own else 'the shared provider '}{facts['provider']}"
    text += ")"
    unit = _unit_fault(facts)
    if facts["free"] >= amount and unit:
        written = last_writer(look, row, resource_class)
        return Finding(f"{text}; {unit}", facts, written, facts["max_unit"] / amount)
    near = facts["free"] / amount if amount else 1.0
    return Finding(text, facts, last_taker(look, table.uuids[row], resource_class, amount > facts["capacity"]), near)


def _unit_fault(facts):
    amount = facts["asked"]
    if amount > facts["max_unit"]:
        return f"at most {facts['max_unit']} at once"
    if amount < facts["min_unit"]:
        return f"at least {facts['min_unit']} at once"
    return f"only in steps of {facts['step_size']}" if amount % max(facts["step_size"], 1) else None


def last_taker(look, provider: str, resource_class: str, never: bool):
    """A trace of the consumer that took of a class of a provider last; of what gave the provider its inventory if it
    ``never`` had enough."""
    written = last_writer(look, look.table.row_of_uuid[provider], resource_class)

    def takes(allocations):
        return any((taken.provider_uuid, taken.resource_class) == (provider, resource_class) for taken in allocations)

    def trace(traces):
        if never:
            return written(traces, "the host reported that it has no more")
        for position, claim in reversed(look.in_flight_on(provider)):
            if takes(claim.allocations):
                return traces.claim_event(
                    position,
                    f"last taken by instance {claim.instance_uuid} (a claim of the scheduler itself that was under "
                    "way)",
                )
        takers = [entry for entry in look.users_of(provider) if takes(entry.allocations)]
        if not takers:
            return written(traces)
        last = max(takers, key=lambda entry: entry.position)
        where = "" if last.host == look.host else f" on {last.host}" if last.host else " of no host"
        return traces.entry_event(last, f"last taken by instance {last.instance_uuid}{where}")

    return trace


def last_writer(look, row: int, resource_class: str):
    """A trace of the event that gave a provider its inventory of a class: a report of its host, or a write of
    Placement's API."""
    if look.is_own(row) and (not look.projection.rules.one_ledger or look.table.reported.item(row)):
        return lambda traces, *what: traces.reported(*what)
    return lambda traces, *what: traces.provider_event(look.table.uuids[row], resource_class)


def latest(findings_traces):
    """A trace of the latest of what some traces find."""
    return lambda traces: traces.latest([trace(traces) for trace in findings_traces])
