"""One host or one provider in all detail, as lines of text."""

from nova_sched.cli.output import aligned, stamp
from nova_sched.cli.state_lists import resources
from rpc_api.wording import number_of


def host_lines(details, fold):
    yield f"{details['host']} in {fold.cell} at position {fold.position}, {stamp(fold.at_ns)}"
    facts = [
        ("status", details["status"] + (f" ({details['reason']})" if details["reason"] else "")),
        ("load", f"{details['num_io_ops']} I/O operations, {number_of(details['failed_builds'], 'failed build')}"),
        ("metrics", _metrics(details) or "none"),
        (
            "node",
            f"{details['node']}, {details['hypervisor']['type']} {details['hypervisor']['version']}"
            + (f", {details['ip']}" if details["ip"] else ""),
        ),
        ("agent", details["server"] or "none"),
        *([("authority", details["authority"])] if details["is_ledger"] else []),
        ("zone", details["zone"]),
        (
            "aggregates",
            ", ".join(aggregate["name"] + _braced(aggregate["metadata"]) for aggregate in details["aggregates"])
            or "none",
        ),
        ("digest", f"{details['digest']} of the host, {fold.digest} of the cell"),
    ]
    yield from (f"  {name:<11} {value}" for name, value in facts)
    depths = {None: -1}
    for provider in details["providers"]:
        depth = depths[provider["uuid"]] = depths[provider["parent"]] + 1
        yield ""
        yield from _one_provider("provider", provider, depth, details["is_ledger"])
    for pool in details["pools"]:
        yield ""
        yield from _one_provider("shared by the host: provider", pool, 0, True)
    yield from (f"a provider is closed: {fault}" for fault in details["closed_providers"])
    yield from _device_lines(details)
    yield ""
    yield f"{number_of(len(details['instances']), 'instance')}"
    yield from _instance_lines(details["instances"], details["is_ledger"])
    yield from _stray_lines(details)


def _one_provider(word, provider, depth, is_ledger):
    """Give the lines of a provider: its traits, its aggregates and its inventories."""
    generation = f", generation {provider['generation']}" if is_ledger else ""
    yield f"{'  ' * depth}{word} {provider['name']} {provider['uuid']}{generation}"
    if provider["traits"]:
        yield f"{'  ' * depth}  traits {', '.join(provider['traits'])}"
    if provider["aggregates"]:
        yield f"{'  ' * depth}  aggregates {', '.join(provider['aggregates'])}"
    heads = ("resource_class", "total", "reserved", "ratio", "capacity", "used", "free")
    table = [
        (*(item[head] for head in heads[:3]), f"{item['allocation_ratio']:g}", *(item[head] for head in heads[4:]))
        for item in provider["inventories"]
    ]
    if table:
        yield from (f"{'  ' * depth}  {line}" for line in aligned(heads, table, heads[1:]))


def _instance_lines(instances, is_ledger):
    """Give the table of the instances of a host."""
    heads = ("instance", "state", "since", "position", *(["generation"] if is_ledger else []), "project", "resources")
    rows = [
        (
            instance["instance"],
            instance["state"] + (" as " + instance["consumer"] if instance["consumer"] != instance["instance"] else ""),
            stamp(instance["since"]),
            instance["since_position"],
            *([instance["generation"]] if is_ledger else []),
            instance["project"] or "-",
            resources(instance["resources"]),
        )
        for instance in instances
    ]
    if rows:
        yield from (f"  {line}" for line in aligned(heads, rows, ("position", "generation")))


def _stray_lines(details):
    """Give the use that a host does not report, and the instances that only nova-compute reports."""
    if details["stray_use"]:
        yield "use that the host does not report:"
        heads = ("provider", "resource_class", "amount")
        rows = [tuple(stray[head] for head in heads) for stray in details["stray_use"]]
        yield from (f"  {line}" for line in aligned(heads, rows, ("amount",)))
    if details["tracked_only"]:
        yield (f"{len(details['tracked_only'])} more that nova-compute reports: {', '.join(details['tracked_only'])}")


def waiting_lines(row, fold):
    yield f"{row.host} in {fold.cell} at position {fold.position}, {stamp(fold.at_ns)}"
    yield f"  waits for its root provider {row.root}, which the log does not have"
    yield f"  agent       {row.server}"
    yield f"  authority   {row.authority}"


def provider_lines(details, fold):
    """Give the lines of one provider and of its consumers."""
    of_host = f", of host {details['host']}" if details["host"] else ", of no host"
    yield f"provider {details['name']} in {fold.cell} at position {fold.position}, {stamp(fold.at_ns)}{of_host}"
    yield f"  parent      {details['parent'] or 'none'}"
    yield f"  children    {', '.join(details['children']) or 'none'}"
    yield f"  serves      {', '.join(details['serves']) or 'no host by its aggregates'}"
    yield ""
    yield from _one_provider("provider", details, 0, True)
    yield ""
    yield f"{number_of(len(details['consumers']), 'consumer')}"
    heads = ("consumer", "type", "since", "position", "generation", "project", "user", "host", "resources")
    rows = [
        tuple(resources(consumer["resources"]) if head == "resources" else consumer[head] or "-" for head in heads)
        for consumer in details["consumers"]
    ]
    if rows:
        yield from (f"  {line}" for line in aligned(heads, rows, ("position", "generation")))


def _metrics(details):
    whole = [f"{name} {value:g}" for name, value in details["metrics"].items()]
    return ", ".join(
        whole + ["{name} {value} on NUMA node {node}".format(**metric) for metric in details["numa_metrics"]]
    )


def _device_lines(details):
    if details["numa_nodes"]:
        yield ""
        heads = ("numa_node", "pinned", "free_cpus", "shared_used", "memory_mb_used", "pages_free")
        yield from aligned(
            heads,
            [
                (
                    numa_node["node"],
                    f"{len(numa_node['pinned'])}/{len(numa_node['dedicated_cpus'])}",
                    _ranges(numa_node["free_cpus"]) or "none",
                    f"{numa_node['shared_used']}/{numa_node['shared_cpus']}",
                    f"{numa_node['memory_used_mb']}/{numa_node['memory_mb']}",
                    ", ".join(f"{page['free']}/{page['total']} of {page['size_kb']} KiB" for page in numa_node["pages"])
                    or "-",
                )
                for numa_node in details["numa_nodes"]
            ],
        )
    if details["pci_pools"]:
        yield ""
        heads = ("pci_pool", "numa_node", "used", "free", "total", "tags")
        yield from aligned(
            heads,
            [
                (
                    f"{pci_pool['vendor_id']}:{pci_pool['product_id']}",
                    "-" if pci_pool["numa_node"] is None else pci_pool["numa_node"],
                    pci_pool["used"],
                    pci_pool["free"],
                    pci_pool["total"],
                    " ".join(f"{name}={value}" for name, value in pci_pool["tags"].items()) or "-",
                )
                for pci_pool in details["pci_pools"]
            ],
            ("used", "free", "total"),
        )


def _braced(metadata):
    return f" ({', '.join(f'{name}={value}' for name, value in metadata.items())})" if metadata else ""


def _ranges(numbers):
    """Return ascending numbers in the form ``0-3,6``."""
    runs = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
