"""How well a cloud is filled: what is stranded, and how full it is."""

from collections import Counter


def stranded(free: dict, total: dict, least: dict) -> dict:
    """What is free on providers that cannot take even the least that anybody asked for.

    ``free``: provider -> {resource class: amount}; ``total``: resource class -> all capacity; ``least``: resource
    class -> the least of it over all that was asked. Returns resource class -> {"amount", "share" of all capacity}.
    """
    lost = Counter()
    for left in free.values():
        if any(left.get(resource_class, 0) < amount for resource_class, amount in least.items()):
            lost.update({resource_class: amount for resource_class, amount in left.items() if amount > 0})
    return {resource_class: {"amount": lost[resource_class],
                             "share": round(lost[resource_class] / total[resource_class], 4)}
            for resource_class in sorted(total) if total[resource_class]}


def stranded_in(table, least: dict) -> dict:
    """As :func:`stranded` of the providers of a host table that have any of the classes that are asked for."""
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


def fill_of(table, resource_class: str = "VCPU") -> float:
    """The used share of all capacity of a class, 0 to 1."""
    index = table.classes.get(resource_class)
    if index < 0:
        return 0.0
    capacity = int(table.capacity[index, :table.count].sum())
    return int(table.used[index, :table.count].sum()) / capacity if capacity else 0.0
