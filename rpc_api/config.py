"""Configuration that all services share: the cells, their logs and message queues, and the RPC topics.

Each service reads ``[cells]``, and a section ``[cell:NAME]`` for each of its cells.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oslo_config import cfg

from rpc_api import concurrency, errors
from rpc_api.accounts import speaks_for
from rpc_api.contracts import agent, conductor, scheduler
from rpc_api.log.checks import mask_password
from rpc_api.log.rabbit_address import parse_address
from rpc_api.monitoring_options import MONITORING_GROUP, MONITORING_OPTS, TRACING_GROUP, TRACING_OPTS
from rpc_api.waiting import until_it_passes

if TYPE_CHECKING:
    # The bus brings oslo.messaging, which may only be imported once the concurrency mode is chosen.
    from rpc_api.bus import MessagingBus
    from rpc_api.bus.server import Serving

CELL0 = "cell0"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

CELLS_GROUP = cfg.OptGroup("cells", "The cells and their logs")
CELLS_OPTS = [
    cfg.StrOpt(
        "cell0_log",
        secret=True,
        help="URL of the API level's own log: sqlite:////path/to/file.db or "
        "rabbit://user:password@host:port/vhost?stream=NAME, with several brokers in the form of "
        "transport_url. Schedulers need it.",
    ),
    cfg.ListOpt("enabled", default=[], help="Names of the cells. Each has a section [cell:NAME]."),
    cfg.BoolOpt(
        "require_accounts",
        help="Whether events in the logs count only if they were appended with the RabbitMQ account ROLE.NAME "
        "(or ROLE) of their producer ROLE/NAME. Without it, "
        "each log keeps its present rule. Must be the same for all services.",
    ),
    cfg.IntOpt(
        "catch_up_timeout",
        default=600,
        min=1,
        help="Seconds that a service may take on its start to read the logs. The time in which a log or a broker is "
        "unreachable does not count: a service waits for it without end.",
    ),
]

SNAPSHOTS_GROUP = cfg.OptGroup("snapshots", "Where the state of logs is kept, so that a start does not read whole logs")
SNAPSHOTS_OPTS = [
    cfg.StrOpt(
        "url",
        secret=True,
        help="file:///DIRECTORY, or redis://[:PASSWORD@]HOST:PORT/DB for services on several machines. Without "
        "it every start reads the logs from their first record, and records may not be removed from them.",
    ),
    cfg.FloatOpt(
        "interval",
        default=600.0,
        min=1.0,
        help="Seconds between two snapshots of a log. The conductors of a cell write those of the cell, schedulers "
        "those of cell0. The retention of the logs must be several times this.",
    ),
]
CHECKPOINTS_GROUP = cfg.OptGroup(
    "checkpoints", "When the state of a log is written into the log itself (from level 3 on)"
)
CHECKPOINTS_OPTS = [
    cfg.FloatOpt(
        "interval",
        default=3600.0,
        min=10.0,
        help="Seconds after which the next checkpoint of a log is written, if records came. The conductors of a cell "
        "write those of the cell, schedulers those of cell0. If the retention of a RabbitMQ stream comes close to the "
        "last one, the next one is written earlier.",
    ),
    cfg.IntOpt("records", default=100_000, min=100, help="Records after which the next checkpoint is written."),
    cfg.IntOpt("megabytes", default=256, min=1, help="Size of the records, in MiB, after which it is written."),
]

CELL_GROUP = cfg.OptGroup(
    "cell:NAME",
    "One cell: a section for each name in [cells] enabled",
    help="A section for each name in [cells] enabled, such as [cell:cell1].",
)
CELL_OPTS = [
    cfg.StrOpt("log", secret=True, help="URL of the cell's log, as [cells] cell0_log."),
    cfg.StrOpt(
        "transport_url",
        secret=True,
        help="Message queue of the cell, in oslo.messaging's form. The default is that of [DEFAULT].",
    ),
    cfg.StrOpt("uuid", help="UUID of the cell's CellMapping in Nova. A compute agent does not need it."),
]


class Cell(NamedTuple):
    """A cell as configured. ``uuid`` is None if it is optional and not set; ``transport_url`` is None for that of
    [DEFAULT]."""

    name: str
    uuid: str | None
    log: str
    transport_url: str | None


def list_opts() -> list[tuple[cfg.OptGroup, Sequence[cfg.Opt]]]:
    """All options of this package, for oslo-config-generator."""
    return [
        (CELLS_GROUP, CELLS_OPTS),
        (CELL_GROUP, CELL_OPTS),
        (SNAPSHOTS_GROUP, SNAPSHOTS_OPTS),
        (CHECKPOINTS_GROUP, CHECKPOINTS_OPTS),
        (MONITORING_GROUP, MONITORING_OPTS),
        (TRACING_GROUP, TRACING_OPTS),
        (scheduler.GROUP, scheduler.OPTS),
        (conductor.GROUP, conductor.OPTS),
        (agent.GROUP, agent.OPTS),
    ]


def set_defaults() -> None:
    """Set our defaults of library options, for oslo-config-generator."""
    import oslo_messaging

    from rpc_api.bus import DEFAULT_EXCHANGE

    oslo_messaging.set_transport_defaults(DEFAULT_EXCHANGE)


def register(conf: cfg.ConfigOpts, of_service: Iterable[tuple[cfg.OptGroup | None, Iterable[cfg.Opt]]] = ()) -> None:
    """Register the options that all services share, except those of single cells, and the options ``of_service``."""
    for group, options in (*list_opts(), *of_service):
        if group is not CELL_GROUP:
            register_in(conf, group, options)


def register_in(conf: cfg.ConfigOpts, group: cfg.OptGroup | None, options: Iterable[cfg.Opt]) -> None:
    """Register options in a group (None: in DEFAULT) by its name.

    By its name, because oslo.config copies a group but not the table of its options: all configurations of a process
    would share the values that were set in the group.
    """
    conf.register_opts(options, group.name if group is not None else None)


def cell0_log(conf: cfg.ConfigOpts) -> str:
    """URL of cell0's log; UsageError when it is not set."""
    if not conf.cells.cell0_log:
        raise errors.UsageError(
            f"[cells] cell0_log is not set, wanted the URL of cell0's log; add it to {_files(conf)}"
        )
    return str(conf.cells.cell0_log)


def wrong_account(url: str, producer: str) -> str | None:
    """The account in the URL of a log that may not publish for a producer ROLE/NAME, and the wanted ones, in words;
    None if all accounts in it may."""
    of_broker = url.lower().startswith(("rabbit://", "rabbits://"))
    role, _, name = producer.partition("/")
    for user in parse_address(url).users if of_broker else (None,):
        if not speaks_for(user, producer):
            found = f"the account {user}" if user else "no account"
            return f"{found}, wanted {role}.{name} or {role} of a RabbitMQ broker"
    return None


def check_account(conf: cfg.ConfigOpts, role: str, name: str, *urls: str) -> None:
    """UsageError if accounts are required and the account in one of the URLs may not publish for ROLE/NAME."""
    for url in urls if conf.cells.require_accounts else ():
        wrong = wrong_account(url, f"{role}/{name}")
        if wrong is not None:
            raise errors.UsageError(
                f"[cells] require_accounts is set, and this service would append to the log {mask_password(url)} with "
                f"{wrong}; fix one of them in {_files(conf)}"
            )


def cells_of(conf: cfg.ConfigOpts, uuid_wanted: bool = True) -> list[Cell]:
    """All enabled cells, in the order of the configuration; UsageError for what is missing or wrong."""
    names = conf.cells.enabled
    if not names:
        raise errors.UsageError(f"[cells] enabled names no cell, wanted at least one; fix {_files(conf)}")
    if len(set(names)) < len(names):
        raise errors.UsageError(f"[cells] enabled names a cell twice ({', '.join(names)}); fix {_files(conf)}")
    cells = [cell_of(conf, name, uuid_wanted) for name in names]
    logs = {conf.cells.cell0_log: CELL0}
    for cell in cells:
        if cell.log in logs:
            raise errors.UsageError(
                f"{cell.name} and {logs[cell.log]} have the same log, wanted one each; fix {_files(conf)}"
            )
        logs[cell.log] = cell.name
    return cells


def may_name_cell(name: str) -> bool:
    """Whether the services accept a name as that of a cell (or cell0)."""
    return _NAME.fullmatch(name) is not None


def cell_of(conf: cfg.ConfigOpts, name: str, uuid_wanted: bool = True) -> Cell:
    """One cell by its name; UsageError for what is missing or wrong."""
    if name not in conf.cells.enabled:
        raise errors.UsageError(
            f"the cell {name!r} is not enabled, wanted one of "
            f"{', '.join(conf.cells.enabled) or '(none)'}; fix [cells] enabled in {_files(conf)}"
        )
    if not may_name_cell(name) or name == CELL0:
        raise errors.UsageError(
            f"{name!r} cannot be the name of a cell, wanted letters, digits, '_', '.' and '-', and "
            f"not {CELL0}; fix [cells] enabled in {_files(conf)}"
        )
    section = f"cell:{name}"
    conf.register_opts(CELL_OPTS, section)
    options = conf[section]
    if not options.log:
        raise errors.UsageError(
            f"[{section}] log is not set, wanted the URL of the cell's log; add the section to {_files(conf)}"
        )
    if uuid_wanted and not options.uuid:
        raise errors.UsageError(
            f"[{section}] uuid is not set, wanted that of the cell's CellMapping "
            "(nova-manage cell_v2 list_cells; without Nova any UUID will do); "
            f"add it to {_files(conf)}"
        )
    return Cell(name, _uuid(conf, section, options.uuid) if options.uuid else None, options.log, options.transport_url)


def _uuid(conf: cfg.ConfigOpts, section: str, text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise errors.UsageError(f"[{section}] uuid is {text!r}, wanted a UUID; fix {_files(conf)}") from None


def _files(conf: cfg.ConfigOpts) -> str:
    return ", ".join(conf.config_file or ()) or "the configuration (there is no file: name one with --config-file)"


class Buses:
    """The RPC buses of a service: one for each transport URL, made when it is first asked for."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._buses: dict[str | None, MessagingBus] = {}
        #: URL -> why its broker could not be used at the last :meth:`look`.
        self._faults: dict[str | None, str] = {}

    def top(self, checked: bool = True) -> MessagingBus:
        """The bus of [DEFAULT] transport_url. With ``checked`` it waits for an unreachable broker; LogRefused if the
        broker refuses the login."""
        return self._bus(None, checked)

    def of(self, cell: Cell, checked: bool = True) -> MessagingBus:
        """The bus of a cell. With ``checked`` it waits for an unreachable broker; LogRefused if the broker refuses the
        login."""
        return self._bus(cell.transport_url, checked)

    def _bus(self, url: str | None, checked: bool = True) -> MessagingBus:
        from rpc_api.bus import MessagingBus

        if url not in self._buses:
            self._buses[url] = MessagingBus(self._conf, url)
        if checked:
            until_it_passes("this service waits for the RPC broker", self._buses[url].check)
        return self._buses[url]

    def serve(self, bus: MessagingBus, topic: str, server: str, endpoint: object, version: str) -> Serving:
        """Answer a topic on a bus; waits for a broker that goes away meanwhile."""
        serving: Serving = until_it_passes(
            f"the topic {topic} waits for the RPC broker", lambda: bus.serve(topic, server, [endpoint], version)
        )
        return serving

    def look(self) -> None:
        """Ask each broker whether it can be used, in some seconds at most for each of its hosts."""
        for url, bus in list(self._buses.items()):
            try:
                bus.check()
            except errors.NovaSchedError as fault:
                self._faults[url] = str(fault)
            else:
                self._faults.pop(url, None)

    def faults(self) -> list[str]:
        """Why brokers could not be used at the last :meth:`look`: a sentence for each."""
        return list(self._faults.values())

    def close(self) -> None:
        """Close all connections."""
        concurrency.side_by_side([bus.close for bus in self._buses.values()])
        self._buses.clear()
