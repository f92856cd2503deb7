"""Random trees of providers with sharing, aggregates, traits and use; and random queries of every feature.

Both are calls of the API, from a seed.
"""

from urllib.parse import urlencode

from tests.builders import uuid_of

CLASSES = ("VCPU", "MEMORY_MB", "DISK_GB", "SRIOV_NET_VF", "CUSTOM_GPU")
TRAITS = ("CUSTOM_T0", "CUSTOM_T1", "CUSTOM_T2", "HW_CPU_X86_AVX", "STORAGE_DISK_SSD")
SHARES = "MISC_SHARES_VIA_AGGREGATE"
AGGREGATES = tuple(uuid_of(f"aggregate {number}") for number in range(4))
NOWHERE = uuid_of("nowhere")
VERSIONS = [f"1.{minor}" for minor in range(10, 40)] + ["1.39"] * 30 + ["1.36"] * 10 + ["1.29"] * 5
SUFFIXES = ("1", "2", "3", "_A", "-b")
#: The part of the worlds that are flat, in which something is shared, and in which also providers with parents share.
FLAT, SHARED, NESTED = 0.2, 0.55, 0.3


def world(draw):
    """The calls that make a world, as (method, path, body), and the uuids of its providers."""
    calls = [("PUT", f"/resource_classes/{name}", None) for name in CLASSES if name.startswith("CUSTOM_")]
    calls += [("PUT", f"/traits/{name}", None) for name in TRAITS if name.startswith("CUSTOM_")]
    flat, shared, nested = draw.random() < FLAT, draw.random() < SHARED, draw.random() < NESTED
    providers = []
    for number in range(draw.randrange(2, 6)):
        tree = []
        for child in range(1 if flat else draw.choice((1, 1, 2, 3, 4, 5))):
            parent = draw.choice(tree) if tree else None
            shares = shared and nested and parent is not None and draw.random() < 0.25
            tree.append(_provider(draw, calls, f"{number}/{child}", parent, shares, 0.5))
        providers += tree
    for number in range(draw.randrange(1, 4) if shared else 0):
        providers.append(_provider(draw, calls, f"shared {number}", None, True, 0.35))
    return calls, providers


def _provider(draw, calls, name, parent, shares, density):
    uuid = uuid_of(name)
    body = {"uuid": uuid, "name": name} | ({"parent_provider_uuid": parent} if parent else {})
    calls.append(("POST", "/resource_providers", body))
    generation, path = 0, f"/resource_providers/{uuid}"
    inventories = {one: _inventory(draw) for one in CLASSES if draw.random() < density}
    if inventories:
        body = {"resource_provider_generation": generation, "inventories": inventories}
        calls.append(("PUT", f"{path}/inventories", body))
        generation += 1
    traits = [trait for trait in TRAITS if draw.random() < 0.4] + [SHARES] * shares
    if traits:
        calls.append(("PUT", f"{path}/traits", {"resource_provider_generation": generation, "traits": traits}))
        generation += 1
    aggregates = [one for one in AGGREGATES if draw.random() < (0.5 if shares else 0.3)]
    if aggregates:
        body = {"resource_provider_generation": generation, "aggregates": aggregates}
        calls.append(("PUT", f"{path}/aggregates", body))
    used = {one: _use(draw, has) for one, has in inventories.items() if draw.random() < 0.3}
    used = {one: amount for one, amount in used.items() if amount}
    if used:
        body = {
            "allocations": {uuid: {"resources": used}},
            "project_id": "p",
            "user_id": "u",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        calls.append(("PUT", f"/allocations/{uuid_of(f'consumer {name}')}", body))
    return uuid


def _inventory(draw):
    total = draw.randrange(1, 9)
    return {
        "total": total,
        "reserved": draw.choice((0, 0, draw.randrange(total))),
        "min_unit": draw.choice((1, 1, 1, 2)),
        "max_unit": draw.choice((total, total, draw.randrange(1, total + 1))),
        "step_size": draw.choice((1, 1, 1, 2)),
        "allocation_ratio": draw.choice((1.0, 1.0, 1.5, 0.7)),
    }


def _use(draw, has):
    """An amount that one consumer may have; 0 if there is none."""
    capacity = int((has["total"] - has["reserved"]) * has["allocation_ratio"])
    fit = [
        amount
        for amount in range(has["min_unit"], min(capacity, has["max_unit"]) + 1)
        if amount % has["step_size"] == 0
    ]
    return draw.choice((fit[-1], fit[0], fit[0])) if fit else 0


# --- queries ---------------------------------------------------------------------------------------------------------


def candidates_query(draw, providers):
    """(path, microversion) of a query for candidates; now and then it is one that makes no sense."""
    version = draw.choice(VERSIONS)
    minor = int(version[2:])
    suffixes = draw.sample(SUFFIXES if minor >= 33 else SUFFIXES[:3], draw.choice((0, 0, 0, 1, 1, 2, 2, 3)))
    if minor < 25:
        suffixes = []
    pairs = []
    subtrees = []
    if suffixes and minor >= 36 and draw.random() < 0.4:
        subtrees = [draw.sample(suffixes, draw.randrange(1, len(suffixes) + 1)) for _ in range(draw.choice((1, 1, 2)))]
        pairs += [("same_subtree", ",".join(one)) for one in subtrees]
    bound = {suffix for one in subtrees for suffix in one}
    groups = ([""] if not suffixes or draw.random() < 0.6 else []) + suffixes
    draw.shuffle(groups)
    for suffix in groups:
        resourceless = suffix in bound and draw.random() < 0.35
        pairs += _group(draw, suffix, minor, resourceless, providers)
    if len(suffixes) > 1 or (suffixes and draw.random() < 0.5):
        pairs.append(("group_policy", draw.choice(("none", "none", "isolate"))))
    if minor >= 35 and draw.random() < 0.15:
        pairs.append(("root_required", _traits(draw, 2, True)))
    if minor >= 16 and draw.random() < 0.15:
        pairs.append(("limit", str(draw.randrange(1, 6))))
    if draw.random() < 0.02:
        pairs = _damaged(draw, pairs)
    return f"/allocation_candidates?{urlencode(pairs)}", version


def _group(draw, suffix, minor, resourceless, providers):
    pairs = []
    if not resourceless:
        number = draw.choice((1, 1, 2)) if suffix else draw.choice((1, 1, 2, 3))
        asked = [f"{one}:{draw.choice((1, 1, 1, 2, 2, 3))}" for one in draw.sample(CLASSES, number)]
        if draw.random() < 0.01:
            asked.append("CUSTOM_UNKNOWN:1")
        pairs.append((f"resources{suffix}", ",".join(asked)))
    pairs += _required(draw, suffix, minor, 0.9 if resourceless else 0.25, 17)
    pairs += _member_of(draw, suffix, minor, 0.15, 21)
    if minor >= 31 and draw.random() < 0.08:
        pairs.append((f"in_tree{suffix}", _tree(draw, providers)))
    return pairs


def _tree(draw, providers):
    return draw.choice([*providers, NOWHERE] if draw.random() < 0.1 else providers)


def _required(draw, suffix, minor, chance, since):
    if minor < since or draw.random() >= chance:
        return []
    pairs = [(f"required{suffix}", _traits(draw, 2, minor >= 22))]
    if minor >= 39 and draw.random() < 0.4:
        pairs.append((f"required{suffix}", "in:" + ",".join(draw.sample(TRAITS, draw.choice((1, 2, 3))))))
    if draw.random() < 0.2:
        draw.shuffle(pairs)
        pairs = pairs[:1]
    return pairs


def _traits(draw, most, may_forbid):
    names = draw.sample((*TRAITS, SHARES), draw.randrange(1, most + 1))
    if draw.random() < 0.01:
        names.append("CUSTOM_UNKNOWN")
    return ",".join(f"!{name}" if may_forbid and draw.random() < 0.3 else name for name in names)


def _member_of(draw, suffix, minor, chance, since):
    if minor < since or draw.random() >= chance:
        return []
    pairs = []
    for _ in range(draw.choice((1, 1, 2)) if minor >= 24 else 1):
        uuids = draw.sample((*AGGREGATES, NOWHERE), draw.choice((1, 1, 2, 3)))
        mark = "!" if minor >= 32 and draw.random() < 0.35 else ""
        pairs.append((f"member_of{suffix}", f"{mark}in:{','.join(uuids)}" if len(uuids) > 1 else f"{mark}{uuids[0]}"))
    return pairs


def _damaged(draw, pairs):
    """A query that lacks something, or has a value that is wrong."""
    number = draw.randrange(len(pairs))
    name, value = pairs[number]
    wrong = draw.choice(("", "!", "in:", ",", "VCPU", "VCPU:0", "in:,", f"{value},", f"!{value}", "x:y"))
    return [*pairs[:number], *pairs[number + 1 :], *draw.choice(([], [(name, wrong)], [(name, value)] * 2))]


def providers_query(draw, providers):
    """(path, microversion) of a query for a list of providers."""
    version = draw.choice(VERSIONS)
    minor, pairs = int(version[2:]), []
    if draw.random() < 0.1:
        pairs.append(("name", draw.choice(("0/0", "1/0", "shared 0", "none"))))
    if draw.random() < 0.1:
        pairs.append(("uuid", draw.choice([*providers, NOWHERE])))
    if minor >= 14 and draw.random() < 0.2:
        pairs.append(("in_tree", _tree(draw, providers)))
    pairs += _required(draw, "", minor, 0.4, 18)
    pairs += _member_of(draw, "", minor, 0.4, 3)
    if draw.random() < 0.5:
        asked = [f"{one}:{draw.choice((1, 1, 2, 3))}" for one in draw.sample(CLASSES, draw.choice((1, 1, 2)))]
        if draw.random() < 0.02:
            asked.append("CUSTOM_UNKNOWN:1")
        pairs.append(("resources", ",".join(asked)))
    if pairs and draw.random() < 0.03:
        pairs = _damaged(draw, pairs)
    return f"/resource_providers?{urlencode(pairs)}", version
