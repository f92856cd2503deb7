"""Measures of a cloud: stranded resources, and how full it is."""

from collections import Counter
from typing import NamedTuple

import numpy as np

VCPU = "VCPU"


def stranded(free: dict, total: dict, least: dict) -> dict:
    """Return the resources that are free on providers that cannot take even the smallest requested amount.

    ``free``: provider -> {resource class: amount}; ``total``: resource class -> all capacity; ``least``: resource
    class -> the smallest requested amount. The result is resource class -> {"amount", "share" of all capacity}.
    """
    lost = Counter()
    for left in free.values():
        if any(left.get(resource_class, 0) < amount for resource_class, amount in least.items()):
            lost.update({resource_class: amount for resource_class, amount in left.items() if amount > 0})
    return {
        resource_class: {
            "amount": lost[resource_class],
            "share": round(lost[resource_class] / total[resource_class], 4),
        }
        for resource_class in sorted(total)
        if total[resource_class]
    }


def stranded_in(table, least: dict) -> dict:
    """Return :func:`stranded` for the providers of a host table that have any of the requested classes."""
    free, total = {}, Counter()
    for resource_class in table.classes.values:
        index = table.classes.get(resource_class)
        for row in range(table.count):
            capacity = int(table.capacity[index, row])
            if table.uuids[row] and capacity:
                free.setdefault(table.uuids[row], {})[resource_class] = capacity - int(table.used[index, row])
                total[resource_class] += capacity
    wanted = {name: amount for name, amount in least.items() if name in total}
    kept = {provider: left for provider, left in free.items() if left.keys() & wanted.keys()}
    return {name: of for name, of in stranded(kept, total, wanted).items() if name in wanted}


class Use(NamedTuple):
    """The use of a cloud at a moment: VCPUs ``used``, ``hosts`` with instances, ``stranded`` VCPUs."""

    used: int
    hosts: int
    stranded: int


def use_of(table, least: dict) -> Use:
    """Return the Use of a host table; ``least`` as in :func:`stranded`."""
    index = table.classes.get(VCPU)
    used = 0 if index < 0 else int(table.used[index, : table.count].sum())
    return Use(used, int((table.num_instances[table.roots()] > 0).sum()), _stranded_vcpus(table, least))


def _stranded_vcpus(table, least):
    wanted = [(table.classes.get(name), amount) for name, amount in sorted(least.items())]
    wanted = [(index, amount) for index, amount in wanted if index >= 0 and table.capacity[index, : table.count].any()]
    vcpus = table.classes.get(VCPU)
    if vcpus < 0 or VCPU not in least:
        return 0
    indexes = [index for index, _ in wanted]
    capacity = table.capacity[indexes, : table.count]
    free = np.where(capacity > 0, capacity - table.used[indexes, : table.count], 0)
    lost = (free < np.array([[amount] for _, amount in wanted])).any(axis=0)
    return int(free[indexes.index(vcpus), lost].clip(0).sum()) if vcpus in indexes else 0


def vcpu_capacity_of(table) -> int:
    """Return how many VCPUs all providers of a host table may give, by their allocation ratios."""
    index = table.classes.get(VCPU)
    return 0 if index < 0 else int(table.capacity[index, : table.count].sum())
