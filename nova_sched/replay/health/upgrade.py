"""What may stop an upgrade to this release: the configuration, the logs, their levels, the services, and what a service
starts from.

Each check gives a :class:`Found`. None of them writes anything, and all of them work on what earlier releases left.
"""

import contextlib
import enum
import re
from typing import NamedTuple

from nova_sched.process import unread_options
from nova_sched.process.checkpoints import newest_in
from nova_sched.process.snapshot_store import check_fits, open_store
from nova_sched.projection import snapshot
from nova_sched.replay.health import doctor, known_levels
from nova_sched.replay.health.finding import FAIL, OK
from nova_sched.replay.state.history import History
from rpc_api import errors
from rpc_api.config import CELL0, cell0_log, cells_of
from rpc_api.events.cloud import StateKept
from rpc_api.feed.epoch import opening_of
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from rpc_api.wording import number_of

#: The level of the oldest release beside which this one works: that of the release before. A release that no longer
#: works beside it raises this number, and says so in its release notes.
OLDEST_BESIDE = 1
#: Versions of RabbitMQ (major, minor): the first one that has streams, the first and the last one that were tried.
HAS_STREAMS, FIRST_TRIED, LAST_TRIED = (3, 9), (3, 10), (4, 99)
NAMED = 3


class State(enum.IntEnum):
    """How serious a finding is. The numbers are the exit codes of an upgrade check of OpenStack."""

    OK = 0
    WARNING = 1
    FAILURE = 2


class Found(NamedTuple):
    """The result of a check: its state, and one sentence that says what was found and what to do."""

    state: State
    text: str


def worst(found) -> Found:
    """One Found of several: the most serious state, with the sentences of that state."""
    state = max(one.state for one in found)
    texts = [one.text for one in found if one.state == state]
    return Found(state, some(texts, "; "))


def some(texts, between: str = ", ") -> str:
    """The first of some texts, and how many more there are."""
    texts = list(texts)
    more = f"{between}and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return between.join(texts[:NAMED]) + more


class Deployment:
    """The logs of a configuration, opened and folded; a context manager.

    ``logs`` and ``projections`` are by cell, ``down`` has the error of each log that cannot be opened or read, and
    ``unknown`` the LogGap of each one whose state is not known. Raises UsageError if the configuration names no logs.
    """

    def __init__(self, conf):
        self.conf = conf
        self.urls = {CELL0: cell0_log(conf)} | {cell.name: cell.log for cell in cells_of(conf, uuid_wanted=False)}
        self.logs, self.projections = {}, {}
        self.down, self.unknown = {}, {}
        #: The snapshots of the configuration, None if it names none; and why they cannot be used.
        self.store = self.store_fault = None

    def __enter__(self):
        try:
            self.store = open_store(self.conf.snapshots.url) if self.conf.snapshots.url else None
        except errors.UsageError as fault:
            self.store_fault = fault
        with contextlib.ExitStack() as stack:
            for cell, url in self.urls.items():
                try:
                    self.logs[cell] = stack.enter_context(open_log(url, create=False))
                except (errors.LogUnavailable, errors.UsageError) as fault:
                    self.down[cell] = fault
            for cell in list(self.logs):
                self._fold(cell)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._stack.close()

    def _fold(self, cell):
        log = self.logs[cell]
        try:
            history = History({cell: log}, store=self.store)
            world = history.world_at({cell: log.bounds().last}, self.unknown)
            self.projections |= world.projections
        except errors.UnknownSchema as fault:
            self.unknown[cell] = fault
        except errors.LogUnavailable as fault:
            self.down[cell] = fault
            del self.logs[cell]


# --- the configuration -----------------------------------------------------------------------------------------------


def of_options(conf) -> Found:
    """Options in the files that nothing reads, such as those that an earlier release had."""
    unread = list(unread_options.unread(conf))
    if not unread:
        files = unread_options.files_of(conf)
        return Found(State.OK, f"all options of {some(map(str, files)) or 'the configuration'} are known")
    return Found(
        State.WARNING, f"{number_of(len(unread), 'option has', 'options have')} no effect: {some(unread, '; ')}"
    )


# --- logs and brokers ------------------------------------------------------------------------------------------------


def of_logs(deployment) -> Found:
    """Whether each log can be read, and what is at its end."""
    found = [
        Found(State.FAILURE, f"the log of {cell} cannot be read: {fault}") for cell, fault in deployment.down.items()
    ]
    for cell, fault in deployment.unknown.items():
        found.append(Found(State.FAILURE, f"the state of {cell} is not known: {fault}"))
    for cell, projection in deployment.projections.items():
        if projection.is_too_new:
            found.append(Found(State.FAILURE, f"{cell}: {projection.unknown_level()}"))
        elif opening_of(deployment.logs[cell]) is None:
            found.append(Found(State.WARNING, f"the log of {cell} is empty; check its URL, or start its services"))
        else:
            found.append(Found(State.OK, f"{cell} at level {projection.level}, up to position {projection.position}"))
    return worst(found)


def of_levels(deployment) -> Found:
    """Whether all logs have one level, and whether no service writes in a form that does not count any more."""
    levels = {cell: projection.level for cell, projection in deployment.projections.items()}
    if not levels:
        return Found(State.FAILURE, "no log can be read; see the check of the logs")
    found = []
    for cell, projection in deployment.projections.items():
        if opening_of(deployment.logs[cell]) is None:
            continue
        finding = doctor.level_of(cell, projection, deployment.logs[cell])
        if finding.state != OK:
            state = State.FAILURE if finding.state == FAIL else State.WARNING
            found.append(Found(state, f"{cell}: {finding.found}; {finding.to_do}"))
    for finding in doctor.of_levels(levels):
        found.append(Found(State.WARNING, f"{finding.found}; {finding.to_do}"))
    low = sorted(cell for cell, level in levels.items() if level < LEVEL)
    if found or not low:
        return worst([*found, Found(State.OK, f"all logs are at level {LEVEL}, the newest one")])
    return Found(
        State.OK,
        f"{some(f'{cell} is at level {levels[cell]}' for cell in low)}; run nova-sched pin when all services are "
        f"upgraded and you no longer want to go back",
    )


def of_brokers(deployment) -> Found:
    """The version of the RabbitMQ of each log. That its streams work is known, because the log was read."""
    found = []
    for cell, log in deployment.logs.items():
        if not hasattr(log, "broker"):
            continue
        facts = log.broker()
        where = f"{facts.product} {facts.version} at {facts.place} ({cell})"
        number = re.match(r"(\d+)\.(\d+)", facts.version)
        version = tuple(map(int, number.groups())) if number and facts.product == "RabbitMQ" else None
        if version is not None and version < HAS_STREAMS:
            found.append(Found(State.FAILURE, f"{where} has no streams; upgrade it to 3.10 or later"))
        elif version is None or not FIRST_TRIED <= version <= LAST_TRIED:
            found.append(Found(State.WARNING, f"{where} was not tried with this release; use RabbitMQ 3.10 to 4"))
        else:
            found.append(Found(State.OK, f"{where} has streams"))
    if not found:
        if deployment.down:
            return Found(State.FAILURE, "no broker of a log answers; see the check of the logs")
        return Found(State.OK, "no log is on RabbitMQ")
    return worst(found)


# --- services --------------------------------------------------------------------------------------------------------


def of_services(deployment) -> Found:
    """Which level each service knows, over RPC: this release works beside the release before, and beside no older."""
    services = known_levels.services_of(deployment.projections)
    try:
        answers = known_levels.ask(deployment.conf, services, with_version=True)
    except errors.LogUnavailable as fault:
        return Found(State.FAILURE, f"the services cannot be asked: {fault}")
    levels = {cell: projection.level for cell, projection in deployment.projections.items()}
    found, known = [], []
    for service, level, why, version in answers:
        if level is None:
            found.append(
                Found(
                    State.WARNING,
                    f"{service} does not answer ({why}); start it, or leave it out of the pin with --gone if it is "
                    "gone for good",
                )
            )
            continue
        known.append(level)
        named = f"{service}{f', version {version},' if version else ''} knows level {level}"
        if level < OLDEST_BESIDE:
            found.append(
                Found(
                    State.FAILURE, f"{named}, wanted at least {OLDEST_BESIDE}; upgrade it to the release before first"
                )
            )
        elif level < levels.get(service.cell, 1) and service.kind != known_levels.AGENT:
            found.append(
                Found(State.FAILURE, f"{named}, and the log of {service.cell} has a higher one; upgrade it at once")
            )
        elif level > LEVEL:
            found.append(Found(State.FAILURE, f"{named}, this command knows {LEVEL}; use the command of that release"))
    if found:
        return worst(found)
    if not known:
        return Found(State.WARNING, "no service is known from the logs; start the services, or check the logs")
    behind = sum(level < LEVEL for level in known)
    text = f"{number_of(len(known), 'service answers', 'services answer')}"
    text += f", {behind} of the release before" if behind else ", all of this release"
    due = any(level < LEVEL for level in levels.values()) and not behind
    return Found(State.OK, f"{text}; nova-sched pin may be run" if due else text)


# --- what a service starts from --------------------------------------------------------------------------------------


def of_checkpoints(deployment) -> Found:
    """Whether each log at level 3 or above has a complete checkpoint from which this release can start."""
    found = []
    for cell, projection in deployment.projections.items():
        log = deployment.logs[cell]
        opening = opening_of(log)
        if opening is None or projection.level < StateKept.LEVEL:
            continue
        checkpoint = newest_in(log, cell, opening.epoch, whole=False).checkpoint
        if checkpoint is None:
            of = "a scheduler" if cell == CELL0 else f"the conductor of {cell}"
            found.append(
                Found(
                    State.FAILURE, f"{cell} has no complete checkpoint; start {of}, and wait until it has written one"
                )
            )
        else:
            found.append(Found(State.OK, f"{cell} has one of the state at position {checkpoint.position}"))
    return worst(found) if found else Found(State.OK, f"no log is at level {StateKept.LEVEL} yet")


def of_snapshots(deployment) -> Found:
    """Whether the snapshots that are kept outside the logs can be read and are of the logs."""
    store = deployment.store
    if deployment.store_fault is not None:
        return Found(State.FAILURE, str(deployment.store_fault))
    if store is None:
        return Found(State.OK, "no snapshots are kept ([snapshots] url is not set)")
    found = []
    for cell, log in deployment.logs.items():
        try:
            packed = store.load(cell)
            if packed is None:
                found.append(Found(State.OK, f"{cell} has none yet"))
                continue
            head = snapshot.check(packed)
            opening = opening_of(log)
            check_fits(head, opening and opening.epoch, log)
            found.append(Found(State.OK, f"{cell} has one of the state at position {head.position}"))
        except errors.LogUnavailable as fault:
            found.append(Found(State.FAILURE, str(fault)))
        except errors.NovaSchedError as fault:
            found.append(
                Found(State.WARNING, f"the snapshot of {cell} is not used, services read the log instead: {fault}")
            )
    return worst(found) if found else Found(State.FAILURE, "no log can be read; see the check of the logs")
