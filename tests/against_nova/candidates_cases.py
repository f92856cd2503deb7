"""The smallest cases in which our candidates and those of Placement 16 differ on purpose: its defects A to D.

Defects E to G are of its writes: see :mod:`tests.against_nova.ledger_cases`.
"""

from tests.builders import uuid_of

SHARES = "MISC_SHARES_VIA_AGGREGATE"


def _provider(name, inventories, parent=None, traits=(), aggregates=(), used=None):
    """The calls that make a provider; ``inventories`` is class -> total."""
    uuid, generation = uuid_of(name), 0
    path = f"/resource_providers/{uuid}"
    parents = {} if parent is None else {"parent_provider_uuid": uuid_of(parent)}
    yield "POST", "/resource_providers", {"uuid": uuid, "name": name, **parents}
    for kind, value in (
        ("inventories", {one: {"total": total} for one, total in inventories.items()}),
        ("traits", list(traits)),
        ("aggregates", [uuid_of(aggregate) for aggregate in aggregates]),
    ):
        if value:
            yield "PUT", f"{path}/{kind}", {"resource_provider_generation": generation, kind: value}
            generation += 1
    if used:
        body = {"allocations": {uuid: {"resources": used}}, "project_id": "p", "user_id": "u"}
        yield (
            "PUT",
            f"/allocations/{uuid_of(f'vm of {name}')}",
            {**body, "consumer_generation": None, "consumer_type": "INSTANCE"},
        )


#: Name -> (calls that make the world, query, options of Placement as (name, group, value)).
CASES = {
    # Two hosts share a disk. Placement takes what they have in common for one candidate, and loses one of the hosts.
    "A: an unsuffixed group on a sharing provider beside a granular group": (
        [
            *_provider("h1", {"VCPU": 1}, aggregates=["rack"]),
            *_provider("h2", {"VCPU": 1}, aggregates=["rack"]),
            *_provider("disk", {"DISK_GB": 1}, traits=[SHARES], aggregates=["rack"]),
        ],
        "resources=DISK_GB:1&resources1=VCPU:1",
        (),
    ),
    # Each of two groups wants one VF, and the group without a suffix another one. The amounts that Placement adds up
    # for one candidate stay added in the next ones.
    "B: amounts with group_policy=isolate": (
        [
            *_provider("h", {"VCPU": 1}),
            *_provider("pf1", {"SRIOV_NET_VF": 4}, parent="h"),
            *_provider("pf2", {"SRIOV_NET_VF": 4}, parent="h"),
        ],
        "resources=SRIOV_NET_VF:1&resources1=SRIOV_NET_VF:1&group_policy=isolate",
        (),
    ),
    # Placement looks up the summary of the provider under the root of another tree.
    "C: a sharing provider with a parent": (
        [
            *_provider("h", {"VCPU": 1}, aggregates=["rack"]),
            *_provider("chassis", {}),
            *_provider("disk", {"DISK_GB": 1}, parent="chassis", traits=[SHARES], aggregates=["rack"]),
        ],
        "resources=VCPU:1,DISK_GB:1",
        (),
    ),
    # Of four VFs two are used, and four are wanted.
    "D: use with optimize_for_wide_provider_trees": (
        [*_provider("h", {"VCPU": 1}), *_provider("pf", {"SRIOV_NET_VF": 4}, parent="h", used={"SRIOV_NET_VF": 2})],
        "resources1=SRIOV_NET_VF:2&resources2=SRIOV_NET_VF:2&group_policy=none",
        (("optimize_for_wide_provider_trees", "workarounds", True),),
    ),
}


def found_by(placement, ours):
    """Case -> what each side answers: the amounts of each candidate, sorted, or the name of an exception."""
    found = {}
    for name, (calls, query, options) in CASES.items():
        for option, group, value in options:
            placement.conf.set_override(option, value, group)
        found[name] = {"Placement": _answer(placement, calls, query), "we": _answer(ours, calls, query)}
        for option, group, _ in options:
            placement.conf.clear_override(option, group)
    return found


def _answer(side, calls, query):
    side.empty()
    for call in calls:
        status, answer = side.call(*call)
        assert status < 300, (call, answer)
    try:
        status, answer = side.call("GET", f"/allocation_candidates?{query}")
    except Exception as fault:
        return type(fault).__name__
    assert status == 200, answer
    return sorted(
        sorted(amount for of in request["allocations"].values() for amount in of["resources"].values())
        for request in answer["allocation_requests"]
    )
