"""What a scheduler counts and times of its requests, for its metrics. Nothing of it is part of a decision.

The thread that owns the engine writes it; any thread may read it. Times are seconds on the engine's clock.
"""

from collections import Counter

from nova_sched.projection.claim_refusals import ClaimRefused
from rpc_api import errors
from rpc_api.histogram import Histogram

QUEUE, DECIDE, READ_BACK, ANSWER = "queue", "decide", "read_back", "answer"
STEPS = (QUEUE, DECIDE, READ_BACK, ANSWER)
PLACED, NOT_READ = "placed", "not_readable"
#: The outcome of a request that is answered with an error. The first class that fits counts.
OUTCOMES = (
    (errors.NoHostFound, "no_valid_host"),
    (errors.CellsUnreachable, "cells_unreachable"),
    (errors.ClaimTimeout, "claim_timeout"),
    (errors.PluginFault, "plugin_fault"),
    (errors.ServiceUnavailable, "service_unavailable"),
    (errors.UsageError, "refused"),
    ((errors.LogUnavailable, errors.LogGap), "log_unavailable"),
    (Exception, "fault"),
)
#: The names under which refusals are counted are bounded: classes of a deployment may make up reasons.
KEYS_MAX = 500
OTHER = "other"
#: The code for a claim that broke the rule of its group in a way that the log cannot see.
GROUP = "group"


def outcome_of(fault: BaseException) -> str:
    """The outcome of a request that failed with ``fault``."""
    return next(name for kind, name in OUTCOMES if isinstance(fault, kind))


class Measures:
    """The counts and times of one scheduler."""

    def __init__(self):
        #: Outcome -> requests that were answered.
        self.requests = Counter(dict.fromkeys((PLACED, NOT_READ, *(name for _, name in OUTCOMES)), 0))
        #: From a request to its answer.
        self.duration = Histogram()
        self.steps = {step: Histogram() for step in STEPS}
        #: (Filter, code of the reason) -> hosts that decisions refused.
        self.hosts_refused = Counter()
        #: Code of the reason -> claims that the log refused. Those that are known begin with 0, so that Prometheus sees
        #: the first one.
        self.claims_refused = Counter({str(code): 0 for code in (GROUP, *ClaimRefused)})

    def step(self, ask, step, began, ended, instance=None, **facts) -> None:
        """A step of a request is done; ``facts`` are for its trace, if it has one."""
        self.steps[step].add(ended - began)
        if ask.trace is not None:
            ask.trace.step(step, began, ended, instance, facts)

    def refused_by_filters(self, refusals) -> None:
        """A decision refused hosts: (filter, Reason, number of hosts) of each reason."""
        counts = self.hosts_refused
        for name, reason, hosts in refusals:
            key = name, reason.code
            counts[key if key in counts or len(counts) < KEYS_MAX else (OTHER, OTHER)] += hosts

    def refused_by_log(self, reason) -> None:
        """The log refused a claim for a Reason; None if it broke the rule of its group in a way that it cannot see."""
        code, counts = GROUP if reason is None else reason.code, self.claims_refused
        counts[code if code in counts or len(counts) < KEYS_MAX else OTHER] += 1

    def answered(self, ask, now, fault=None) -> None:
        """A request was answered, with an error if there is a ``fault``."""
        outcome = PLACED if fault is None else outcome_of(fault)
        self.requests[outcome] += 1
        self.duration.add(now - ask.arrived_at)
        if ask.trace is not None:
            ask.trace.end(now, outcome, fault)

    def not_readable(self) -> None:
        """A request was refused before it reached the engine."""
        self.requests[NOT_READ] += 1
