"""``nova-sched snapshot``: fold logs and write their state, or check written snapshots and states of services."""

import re

from nova_sched.cli.command import REFUSED, ReplayCommand
from nova_sched.process.snapshot_store import check_fits, open_store
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.logs.reading import decoded_records
from nova_sched.replay.state.history import History
from rpc_api import errors
from rpc_api.feed.epoch import epoch_of
from rpc_api.wording import number_of

EPILOG = """\
examples:
  nova-sched snapshot --log cell1=sqlite:///log.cell1.db --to file:///var/lib/nova_sched/snapshots
  nova-sched snapshot --log out/demo --to redis://localhost:6379/0 --check
  nova-sched snapshot --log cell1=sqlite:///log.cell1.db --to file:///var/lib/nova_sched/snapshots \\
      --compare cell1:4711=$DIGEST

The report of a service (SIGUSR2) has the position and the digest of its state of each log. --compare folds the log to
that position. If the digests differ, the service has folded records that the log lost later: take a new snapshot, and
restart the service.

exit codes: 0 written (with --check or --compare: they fit), 1 there is no snapshot to check, 2 wrong usage, 3 log or
store unreachable, 4 a snapshot or a compared state does not fit its log, 5 a snapshot of another version
"""


class Snapshot(ReplayCommand):
    """Write the state of logs as snapshots; --check and --compare check snapshots and states of services."""

    EPILOG = EPILOG
    when_down = REFUSED

    def add_arguments(self, parser):
        parser.add_argument(
            "--to", required=True, metavar="URL", help="where snapshots are kept: file:///DIR or redis://..."
        )
        parser.add_argument("--check", action="store_true", help="check the kept snapshots instead of taking new ones")
        parser.add_argument(
            "--compare",
            action="append",
            default=[],
            metavar="CELL:POSITION=DIGEST",
            help="compare the state of a service, as its report names it, with the log; may be given several times",
        )

    def run_on(self, source, arguments):
        if arguments.compare:
            stated = [_stated(text, source) for text in arguments.compare]
            return self._compare(source, stated, open_store(arguments.to))
        store = open_store(arguments.to)
        for cell, log in sorted(source.logs.items()):
            try:
                (self._check if arguments.check else self._take)(cell, log, store)
            except (errors.UnknownSchema, errors.SnapshotMismatch) as fault:
                raise type(fault)(f"{store.where(cell)}: {fault}") from None
        return errors.EXIT_OK

    def _compare(self, source, stated, store):
        """Compare (cell, position, digest) with the states of the logs; return EXIT_GAP if one differs."""
        differ = False
        for cell, position, digest in stated:
            log = source.logs[cell]
            if position > log.bounds().last:
                found = f"the log ends at {log.bounds().last}, so it lost the records up to {position}"
            else:
                folded = state_digest(_folded(cell, log, position, store))
                found = None if folded == digest else f"the log gives {folded}"
            differ = differ or found is not None
            self.out.write(
                f"{cell}: position {position}, digest {digest}: "
                + (
                    "the state of the log\n"
                    if found is None
                    else f"another state, {found}; take a new snapshot without --compare, and restart that service\n"
                )
            )
        return errors.EXIT_GAP if differ else errors.EXIT_OK

    def _take(self, cell, log, store):
        projection = _folded(cell, log, log.bounds().last, store)
        packed = snapshot.dump(projection)
        store.save(cell, packed)
        self.out.write(
            f"{cell}: position {projection.position}, {number_of(len(projection.hosts), 'host')}, "
            f"{number_of(len(packed), 'byte')}, digest {state_digest(projection)}\n"
        )

    def _check(self, cell, log, store):
        packed = store.load(cell)
        if packed is None:
            raise errors.NovaSchedError(f"there is no snapshot of {cell}; take one without --check")
        head = snapshot.head_of(packed)
        bounds = log.bounds()
        check_fits(head, epoch_of(log), log)
        projection = snapshot.load(packed)
        suffix = 0
        for record in decoded_records(log, head.position + 1):
            projection.fold([record])
            suffix += 1
        text = f"{cell}: fits, position {head.position} and {number_of(suffix, 'record')} after it"
        if bounds.first == 0:
            whole = Projection(cell, HostTable())
            whole.fold(decoded_records(log, last=projection.position))
            if state_digest(whole) != state_digest(projection):
                raise errors.SnapshotMismatch(
                    f"the snapshot of {cell} and the records after it do not give the state "
                    "of the whole log; remove it and take a new one"
                )
            text += ", the same state as the whole log"
        self.out.write(f"{text}, digest {state_digest(projection)}\n")


def _folded(cell, log, position, store):
    """Return the state of a log at a position, folded from its first record if the log still has it."""
    history = History({cell: log})
    if not history.is_whole(cell):
        history.store = store
    return history.world_at({cell: position}).projections[cell]


def _stated(text, source):
    """Parse CELL:POSITION=DIGEST; UsageError for another form, or for a cell whose log is not named."""
    found = re.fullmatch(r"(?P<cell>[^:=]+):(?P<position>\d{1,18})=(?P<digest>[0-9a-f]{32})", text)
    if found is None:
        raise errors.UsageError(
            f"--compare is {text!r}, wanted CELL:POSITION=DIGEST with a digest of 32 hex digits; fix it"
        )
    cell, _ = source.one(found["cell"], "--compare")
    return cell, int(found["position"]), found["digest"]
