"""``nova-sched-replay export``: write logs to one file that can be kept, sent and read without a broker."""

import os

from nova_sched.cli import output
from nova_sched.cli.command import REFUSED, ReplayCommand
from nova_sched.process.text import one_line
from nova_sched.replay.archive.export import export
from nova_sched.replay.logs.moments import parse_range, spans
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
Private data are redacted unless --no-redact is given. Equal texts become equal pseudonyms, so decisions that are made
again from the file have the same result. The key is made for each export and then deleted.
hidden: ids of projects and users, IP addresses (common leading bits stay common), reasons of failures and of disabled
  hosts, values of hints, image properties and aggregate metadata that no filter or weigher of Nova reads, accounts,
  and the bytes of events that cannot be read
kept: names of hosts, cells, aggregates, zones and flavors, uuids, request ids, extra specs, amounts, times,
  producers

examples:
  nova-sched-replay --log out/demo export -o out/demo/incident.nslog
  nova-sched-replay --log out/demo export cell1:0:20 -o out/demo/begin.nslog --no-redact --force
  nova-sched-replay --log out/demo/incident.nslog tail -n 3

exit codes: 0 written, 2 wrong usage, 3 a log or the file cannot be reached, 4 a log does not have the whole range
(what it has is written)
"""


class Export(ReplayCommand):
    """Write logs, or a range of them, to one compressed file with checksums, without private data."""

    EPILOG = EPILOG
    when_down = REFUSED

    def add_arguments(self, parser):
        parser.add_argument("range", nargs="?", metavar="RANGE", help="positions or times in UTC, as for tail (all)")
        parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the file to write")
        parser.add_argument("--no-redact", action="store_true", help="keep personal and private data in the file")
        parser.add_argument("--force", action="store_true", help="overwrite an existing file")

    def run_on(self, source, arguments):
        if os.path.exists(arguments.output) and not arguments.force:
            raise errors.UsageError(f"{arguments.output} exists already; name another file, or add --force")
        ends = (None, None) if arguments.range is None else parse_range(arguments.range, self.now_ns)
        found, gaps = spans(ends, source)
        fresh = f"{arguments.output}.part"
        try:
            with (
                open(fresh, "wb") as file,
                output.progress(self.err, not self.option(arguments, "no_progress")) as update,
            ):
                done = export(source, found, file, self.now_ns, not arguments.no_redact, update)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, arguments.output)
        except OSError as fault:
            raise errors.LogUnavailable(
                f"{arguments.output} cannot be written ({fault.strerror}); check its directory"
            ) from None
        finally:
            if os.path.exists(fresh):
                os.unlink(fresh)
        self._tell(arguments, found, done)
        for gap in gaps:
            self.say(f"nova-sched-replay export: {gap}")
        return errors.EXIT_GAP if gaps else errors.EXIT_OK

    def _tell(self, arguments, found, done):
        where = ", ".join(f"{cell} {span.first}:{span.last}" for cell, span in sorted(found.items()))
        self.out.write(
            f"{arguments.output}: {number_of(done.events, 'event')} in {number_of(done.records, 'record')} of "
            f"{one_line(where)}, {number_of(done.size, 'byte')}\n"
        )
        if arguments.no_redact:
            self.out.write("not redacted: the file contains ids of projects and users, addresses and free texts\n")
        else:
            self.out.write(
                "redacted: ids of projects and users, addresses and free texts are pseudonyms "
                "(--no-redact keeps them)"
                + f"; {done.removed} events that cannot be read were removed" * bool(done.removed)
                + "\n"
            )
