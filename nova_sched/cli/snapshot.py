"""``nova-sched snapshot``: fold logs and keep their state, or check the snapshots that are kept."""

from nova_sched.cli.command import REFUSED, ReplayCommand
from nova_sched.projection import snapshot
from nova_sched.projection.digest import state_digest
from nova_sched.projection.projection import Projection
from nova_sched.projection.table import HostTable
from nova_sched.replay.reading import decoded_records
from nova_sched.snapshots import check_fits, open_store
from rpc_api import errors
from rpc_api.log.epoch import epoch_of, opening_of

EPILOG = """\
examples:
  nova-sched snapshot --log cell1=sqlite:///log.cell1.db --to file:///var/lib/nova_sched/snapshots
  nova-sched snapshot --log out/demo --to redis://localhost:6379/0 --check

exit codes: 0 kept (or: they fit), 1 there is no snapshot to check, 3 log or store unreachable,
4 a snapshot does not fit its log, 5 a snapshot of another form
"""


class Snapshot(ReplayCommand):
    """Keep the state of logs as snapshots; with --check see whether the kept ones fit their logs and give their state."""

    EPILOG = EPILOG
    when_down = REFUSED

    def add_arguments(self, parser):
        parser.add_argument("--to", required=True, metavar="URL",
                            help="where snapshots are kept: file:///DIR or redis://...")
        parser.add_argument("--check", action="store_true", help="check the kept snapshots instead of taking new ones")

    def run_on(self, source, arguments):
        store = open_store(arguments.to)
        for cell, log in sorted(source.logs.items()):
            try:
                (self._check if arguments.check else self._take)(cell, log, store)
            except (errors.UnknownSchema, errors.SnapshotMismatch) as fault:
                raise type(fault)(f"{store.where(cell)}: {fault}") from None
        return errors.EXIT_OK

    def _take(self, cell, log, store):
        opening = opening_of(log)
        projection = Projection(cell, HostTable(), opening is None or opening.whole)
        projection.fold(decoded_records(log))
        packed = snapshot.dump(projection)
        store.save(cell, packed)
        self.out.write(f"{cell}: position {projection.position}, {len(projection.hosts)} hosts, "
                              f"{len(packed)} bytes, digest {state_digest(projection)}\n")

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
        text = f"{cell}: fits, position {head.position} and {suffix} records after it"
        if bounds.first == 0:
            whole = Projection(cell, HostTable())
            whole.fold(decoded_records(log, last=projection.position))
            if state_digest(whole) != state_digest(projection):
                raise errors.SnapshotMismatch(f"the snapshot of {cell} and the records after it do not give the state "
                                              "of the whole log; remove it and take a new one")
            text += ", the same state as the whole log"
        self.out.write(f"{text}, digest {state_digest(projection)}\n")
