"""All metrics of the services: one literal table.

Names and units are as Prometheus wants them. No label has a value for each host, instance, project or client, so that
the number of series does not grow with the cloud; it grows with the number of cells.
"""

from collections.abc import Iterable
from typing import NamedTuple

from rpc_api.histogram import Histogram

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


class Family(NamedTuple):
    """A metric: its kind, what it says, and the names of its labels."""

    kind: str
    help: str
    labels: tuple[str, ...] = ()


class Sample(NamedTuple):
    """A value of a family, for the values of its labels in their order."""

    family: str
    value: float | Histogram
    labels: tuple[str, ...] = ()


CELL = ("cell",)

#: Name -> Family, in the order of /metrics. The documents in docs/operating/monitoring.md have a line for each.
FAMILIES: dict[str, Family] = {
    # Every service.
    "nova_sched_build_info": Family(GAUGE, "1 for the program and its version.", ("program", "version")),
    "nova_sched_ready": Family(GAUGE, "1 if the service can do its work, as /readyz."),
    "nova_sched_loop_age_seconds": Family(GAUGE, "Seconds since a loop of the process last went round.", ("loop",)),
    # Each log that a service folds.
    "nova_sched_log_readable": Family(GAUGE, "1 if the log can be read.", CELL),
    "nova_sched_log_appendable": Family(GAUGE, "1 if the log can be appended to.", CELL),
    "nova_sched_log_current": Family(GAUGE, "1 if the state is that of the log: it was folded to its end.", CELL),
    "nova_sched_log_position": Family(GAUGE, "Position of the last record that is folded.", CELL),
    "nova_sched_log_lag_records": Family(GAUGE, "Records that the log had a moment ago and that are not folded.", CELL),
    "nova_sched_log_lag_seconds": Family(GAUGE, "Seconds since the end of the log was last reached.", CELL),
    "nova_sched_log_events_waiting": Family(GAUGE, "Events of this service that are not durable yet.", CELL),
    "nova_sched_log_append_duration_seconds": Family(
        HISTOGRAM, "From the first event of a batch until it is durable.", CELL
    ),
    "nova_sched_log_events_folded_total": Family(COUNTER, "Events that were folded, by their name.", ("cell", "event")),
    "nova_sched_log_events_set_aside_total": Family(
        COUNTER, "Events that were set aside, by the code of the reason.", ("cell", "code")
    ),
    "nova_sched_log_events_ignored_total": Family(
        COUNTER, "Events without effect: duplicates, and those of an earlier incarnation.", ("cell", "why")
    ),
    "nova_sched_log_sequence_gaps_total": Family(COUNTER, "Gaps in the numbers of a producer's events.", CELL),
    "nova_sched_log_divergences_total": Family(COUNTER, "Hosts that did not agree with the log.", CELL),
    "nova_sched_log_claims_total": Family(
        COUNTER, "Claims that were read, accepted or refused by the log.", ("cell", "outcome")
    ),
    "nova_sched_log_writes_total": Family(
        COUNTER, "Writes of the Placement API that were read, accepted or refused by the log.", ("cell", "outcome")
    ),
    # The size of the state.
    "nova_sched_hosts": Family(GAUGE, "Hosts by status: up, disabled, forced_down or lost.", ("cell", "status")),
    "nova_sched_hosts_with_stray_use": Family(GAUGE, "Hosts that have use of what they do not report.", CELL),
    "nova_sched_providers": Family(GAUGE, "Resource providers.", CELL),
    "nova_sched_consumers": Family(GAUGE, "Consumers of resources.", CELL),
    # Checkpoints.
    "nova_sched_checkpoint_timestamp_seconds": Family(GAUGE, "When the newest complete checkpoint was written.", CELL),
    "nova_sched_checkpoint_size_bytes": Family(GAUGE, "Size of the newest checkpoint, if it was read whole.", CELL),
    "nova_sched_checkpoint_records_since": Family(GAUGE, "Records after the beginning of the newest checkpoint.", CELL),
    "nova_sched_checkpoint_margin_ratio": Family(
        GAUGE, "Share of the log that a broker may remove by policy before the newest checkpoint is of no use.", CELL
    ),
    "nova_sched_checkpoints_written_total": Family(COUNTER, "Checkpoints that this process wrote.", CELL),
    "nova_sched_checkpoint_failures_total": Family(COUNTER, "Checkpoints that this process could not write.", CELL),
    # Schedulers.
    "nova_sched_scheduler_requests_total": Family(COUNTER, "Requests that were answered, by outcome.", ("outcome",)),
    "nova_sched_scheduler_request_duration_seconds": Family(HISTOGRAM, "From the request to its answer."),
    "nova_sched_scheduler_step_duration_seconds": Family(
        HISTOGRAM,
        "A step of a decision: queue (until the first decision begins), decide (filter, weigh and fit), read_back "
        "(from the publication of the claim until it is read back), answer (making the answer).",
        ("step",),
    ),
    "nova_sched_scheduler_requests_in_flight": Family(GAUGE, "Requests that are not answered yet."),
    "nova_sched_scheduler_decisions_total": Family(COUNTER, "Decisions, also those that were made again."),
    "nova_sched_scheduler_hosts_refused_total": Family(
        COUNTER, "Hosts that decisions refused, by filter and code of the reason.", ("filter", "reason")
    ),
    "nova_sched_scheduler_claims_in_flight": Family(GAUGE, "Claims that are published and not read back.", CELL),
    "nova_sched_scheduler_claims_refused_total": Family(
        COUNTER, "Claims that the log refused, by the code of the reason.", ("reason",)
    ),
    "nova_sched_scheduler_claims_lost_total": Family(
        COUNTER, "Claims that the log passed without an outcome, or lost with its last records.", ("how",)
    ),
    "nova_sched_scheduler_answers_not_delivered_total": Family(COUNTER, "Answers whose caller was gone."),
    "nova_sched_scheduler_faults_total": Family(
        COUNTER, "Faults of the scheduler, of classes of the deployment, and records that no log takes.", ("kind",)
    ),
    "nova_sched_scheduler_cell_open": Family(GAUGE, "1 if instances are scheduled to the cell.", CELL),
    "nova_sched_scheduler_policy_info": Family(GAUGE, "1 for the digest of the policy that decides.", ("policy",)),
    # Shadows.
    "nova_sched_shadow_comparisons_total": Family(
        COUNTER, "Instances whose host was compared with the one that Nova chose, by verdict.", ("verdict",)
    ),
    "nova_sched_shadow_waiting_instances": Family(GAUGE, "Instances for which the choice of Nova is not known yet."),
    "nova_sched_shadow_reading": Family(
        GAUGE, "1 if the copies of requests, or of the builds of a cell, are read.", ("source",)
    ),
    "nova_sched_shadow_messages_total": Family(
        COUNTER, "Messages of Nova that were used, ignored, or cannot be used.", ("source", "outcome")
    ),
    "nova_sched_shadow_losses_total": Family(
        COUNTER, "How often a queue was full and messages were dropped.", ("source",)
    ),
    # Conductors.
    "nova_sched_conductor_requests_in_flight": Family(GAUGE, "Requests to the API level that have no outcome yet."),
    "nova_sched_conductor_builds_in_flight": Family(GAUGE, "Claims that are being built.", CELL),
    "nova_sched_conductor_peer_answers": Family(
        GAUGE, "1 if schedulers, or the conductors of a cell, answer the conductor of the API level.", ("peer",)
    ),
    # The wire tap.
    "nova_sched_tap_reading": Family(GAUGE, "1 if this conductor reads the queue of the tap.", CELL),
    "nova_sched_tap_standby": Family(GAUGE, "1 if another conductor reads the queue.", CELL),
    "nova_sched_tap_messages_total": Family(
        COUNTER, "Messages of nova-compute that were used or ignored.", ("cell", "outcome")
    ),
    "nova_sched_tap_messages_unread_total": Family(
        COUNTER, "Messages that cannot be used, by the code of the reason.", ("cell", "code")
    ),
    "nova_sched_tap_losses_total": Family(COUNTER, "How often the queue was full and messages were dropped.", CELL),
    "nova_sched_tap_unsure_hosts": Family(GAUGE, "Hosts whose facts may be older than a loss.", CELL),
    # Agents.
    "nova_sched_agent_hosts": Family(GAUGE, "Hosts that the agent reports."),
    "nova_sched_agent_instances": Family(GAUGE, "Instances that run on these hosts."),
    "nova_sched_agent_conductors_answer": Family(GAUGE, "1 if the conductors of the cell answer."),
    # The Placement API.
    "nova_sched_placement_requests_total": Family(
        COUNTER, "Requests that were answered, by route and status.", ("method", "route", "code")
    ),
    "nova_sched_placement_request_duration_seconds": Family(
        HISTOGRAM, "From a request until its answer begins.", ("method", "route")
    ),
    "nova_sched_placement_write_duration_seconds": Family(
        HISTOGRAM, "From the publication of a write until its outcome is read back.", CELL
    ),
    "nova_sched_placement_writes_in_flight": Family(GAUGE, "Writes whose outcome is not read back.", CELL),
    "nova_sched_placement_takes_writes": Family(GAUGE, "1 if the log takes API writes.", CELL),
}


def one_or_zero(is_so: object) -> float:
    """The value of a metric that says yes or no."""
    return 1.0 if is_so else 0.0


def counted(family: str, counts: Iterable[tuple[str, int]], *labels: str) -> Iterable[Sample]:
    """A sample for each of some counts (last label, number), after the same first labels."""
    for last, number in counts:
        yield Sample(family, number, (*labels, last))
