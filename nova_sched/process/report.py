"""The Guru Meditation Report (SIGUSR2) of a service, with a section of its own."""

import threading

from oslo_reports import guru_meditation_report
from oslo_reports.generators.conf import ConfigReportGenerator
from oslo_reports.models.with_default_views import ModelWithDefaultViews

from nova_sched.projection.digest import state_digest
from rpc_api import concurrency

TITLE = "nova_sched"
#: Seconds that a service has to say how it is; the report is printed without it after that.
TIMEOUT = 5.0
#: Events that were set aside, shown of each log; nova-sched-replay quarantine shows all of them.
LAST_SET_ASIDE = 5


class _Version:
    """What oslo.reports asks of a version."""

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
    """Print a report on SIGUSR2, to stderr or as ``[oslo_reports]`` says."""
    report = guru_meditation_report.TextGuruMeditation
    report.register_section(TITLE, lambda: ModelWithDefaultViews(data=facts(service)))
    # The section "Configuration" of oslo.reports is that of its libraries; without secrets, both.
    report.register_section(f"{TITLE} Configuration", ConfigReportGenerator(conf))
    report.setup_autorun(_Version(program), service_name=program, conf=conf)


def facts(service) -> dict:
    """What the service says of itself; a service that hangs or fails does not keep the report from being made."""
    said = {}

    def ask():
        try:
            said.update(service.report())
        except Exception as fault:
            said["no answer"] = repr(fault)

    thread = threading.Thread(target=ask, name="report", daemon=True)
    if not concurrency.start_or_report(thread):
        return {"no answer": concurrency.death()}
    thread.join(TIMEOUT)
    return dict(said) if said else {"no answer": f"within {TIMEOUT} s"}


def projection_facts(projection) -> dict:
    """What a projection holds: two services at one position of a log have one digest. Call it in the thread, or under
    the lock, that folds it."""
    return {
        "epoch": projection.epoch or "none",
        "position": projection.position,
        "digest": state_digest(projection),
        "hosts": len(projection.hosts),
        "hosts lost": sum(host.lost for host in projection.hosts.values()),
        "consumers": len(projection.consumers),
        "counts": dict(sorted(projection.counts.items())),
        "last set aside": {
            f"{event.position}.{event.index}": f"{event.code}: {event.reason}"
            for event in list(projection.quarantine)[-LAST_SET_ASIDE:]
        }
        or "none",
    }


def log_facts(log, position: int) -> dict:
    """How far a reader at ``position`` is behind the end of its log (a CellLog)."""
    try:
        last = log.bounds().last
    except Exception as fault:
        return {"log": log.url, "fault": str(fault)}
    return {"log": log.url, "last": last, "lag": last - position}
