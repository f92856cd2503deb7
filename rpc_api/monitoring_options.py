"""Options of what every service shows of itself: metrics and health over HTTP, and traces."""

from oslo_config import cfg

MONITORING_GROUP = cfg.OptGroup(
    "monitoring", "Metrics and health of each service over HTTP: /metrics, /healthz and /readyz"
)
MONITORING_OPTS = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Whether each service listens for HTTP requests for its metrics (in Prometheus' form) and its health.",
    ),
    cfg.HostAddressOpt(
        "host",
        default="127.0.0.1",
        help="Address on which it listens. There are no passwords: name an address that only the monitoring can reach.",
    ),
    cfg.PortOpt(
        "port",
        sample_default="9773 for a shadow, 9774 for a scheduler, 9775 and 9776 for a conductor of the API level and of "
        "a cell, 9777 for an agent, 9778 for the Placement API",
        help="Port on which it listens. Each worker of the Placement API on a machine adds its number, from 0 on. If "
        "two other services of one kind run on a machine, set it for one of them (in a file of its own, or by the "
        "variable OS_MONITORING__PORT).",
    ),
]

TRACING_GROUP = cfg.OptGroup("tracing", "Traces of requests, in the form of OpenTelemetry")
TRACING_OPTS = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Whether schedulers send traces: a span for each select_destinations and for each step of it. The span of "
        "the caller is continued if the message has one. Needs the extra nova_sched[trace].",
    ),
    cfg.URIOpt(
        "endpoint",
        default="http://127.0.0.1:4318",
        schemes=["http", "https"],
        help="URL of a collector that takes OTLP over HTTP. Traces go to ENDPOINT/v1/traces.",
    ),
    cfg.FloatOpt(
        "sample_ratio",
        default=1.0,
        min=0.0,
        max=1.0,
        help="Share of the requests that are traced, of those whose caller did not decide it.",
    ),
]
