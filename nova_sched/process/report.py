"""The Guru Meditation Report (SIGUSR2) of a service, with a section for nova_sched."""

import threading

from oslo_reports import guru_meditation_report
from oslo_reports.generators.conf import ConfigReportGenerator
from oslo_reports.models.with_default_views import ModelWithDefaultViews

from nova_sched.projection.digest import state_digest
from rpc_api import concurrency
from rpc_api.levels import LEVEL

TITLE = "nova_sched"
#: Seconds that a service has to report its facts; after that the report is printed without them.
TIMEOUT = 5.0
#: Number of events that were set aside to show per log; nova-sched-replay quarantine shows all of them.
LAST_SET_ASIDE = 5


class _Version:
    """The version object that oslo.reports wants."""

    def __init__(self, program):
        self._program = program

    def vendor_string(self):
        return TITLE

    def product_string(self):
        return self._program

    def version_string_with_package(self):
        from nova_sched.process.version import version

        return version()


def install(program: str, conf, service) -> None:
    """Print a report on SIGUSR2, to stderr or to the place in ``[oslo_reports]``."""
    report = guru_meditation_report.TextGuruMeditation
    report.register_section(TITLE, lambda: ModelWithDefaultViews(data=facts(service)))
    # The section "Configuration" of oslo.reports has only the options of its libraries. Both sections mask secrets.
    report.register_section(f"{TITLE} Configuration", ConfigReportGenerator(conf))
    report.setup_autorun(_Version(program), service_name=program, conf=conf)


def facts(service) -> dict:
    """Return the facts of a service. The report is made even if the service hangs or fails."""
    known = {}

    def ask():
        try:
            known.update(service.report())
        except Exception as fault:
            known["no answer"] = repr(fault)

    thread = threading.Thread(target=ask, name="report", daemon=True)
    if not concurrency.start_or_report(thread):
        return {"no answer": concurrency.death()}
    thread.join(TIMEOUT)
    return dict(known) if known else {"no answer": f"within {TIMEOUT} s"}


def projection_facts(projection) -> dict:
    """Return the facts of a projection. Two services at the same position of a log have the same digest.

    Call it in the thread that folds the projection, or under its lock."""
    return {
        "epoch": projection.epoch or "none",
        "position": projection.position,
        "level": f"{projection.level} (this service knows 1 to {LEVEL})",
        "digest": state_digest(projection),
        "hosts": len(projection.hosts),
        "hosts lost": sum(host.lost for host in projection.hosts.values()),
        "hosts with stray use": sum(bool(host.unreported) for host in projection.hosts.values()),
        "consumers": len(projection.consumers),
        "counts": dict(sorted(projection.counts.items())),
        "last set aside": {
            f"{event.position}.{event.index}": f"{event.code}: {event.reason}"
            for event in list(projection.quarantine)[-LAST_SET_ASIDE:]
        }
        or "none",
    }


def log_facts(log, position: int) -> dict:
    """Return how far a reader at ``position`` is behind the end of its log (a CellLog), in records."""
    try:
        last = log.bounds().last
    except Exception as fault:
        return {"log": log.url, "fault": str(fault)}
    return {"log": log.url, "last": last, "lag": last - position}
