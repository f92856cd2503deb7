"""Whether hosts take instances: one meaning for commands and metrics. Filters look at columns of the table instead."""

from nova_sched.projection.ledger import COMPUTE_STATUS_DISABLED, Host
from nova_sched.projection.state import State
from nova_sched.projection.table import HostTable

UP, DISABLED, FORCED_DOWN, LOST = "up", "disabled", "forced down", "lost"


def is_disabled_by_service(host: Host, table: HostTable) -> bool:
    """Return whether the compute service of a host is disabled. An unmodified Nova says so with a trait."""
    return bool(host.status.disabled) or table.row_has_trait(COMPUTE_STATUS_DISABLED, host.root)


def is_disabled(host: Host, table: HostTable) -> bool:
    """Return whether a host is disabled, by its compute service or by an operator."""
    return host.disabled_for is not None or is_disabled_by_service(host, table)


def counts_of(projection: State) -> dict[str, int]:
    """Count the hosts of a projection that are up, disabled, forced down and lost: each host once, for the last one of
    these that is true."""
    counts = dict.fromkeys((UP, DISABLED, FORCED_DOWN, LOST), 0)
    # A copy, and only hosts whose report is folded: metrics are asked for while another thread folds.
    for host in [host for host in list(projection.hosts.values()) if host.status is not None]:
        disabled = is_disabled(host, projection.table)
        counts[LOST if host.lost else FORCED_DOWN if host.status.forced_down else DISABLED if disabled else UP] += 1
    return counts
