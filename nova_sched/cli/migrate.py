"""``nova-sched import``, ``compare`` and ``export``: take over a running cloud, and give it back."""

from pathlib import Path

from nova_sched.cli import output
from nova_sched.cli.command import REFUSED, ReplayCommand, add_config_file
from nova_sched.cli.create_log import user
from nova_sched.cli.numbers import Number
from nova_sched.cli.operator import add_cloud
from nova_sched.clients.login import login
from nova_sched.clients.nova import NovaApi
from nova_sched.clients.service import ROOT, Service, understood
from nova_sched.migration import (
    cell_database,
    compare,
    from_nova,
    from_placement,
    nova_hosts,
    nova_only,
    owners,
    take_over,
    to_placement,
)
from nova_sched.migration.cells import read_hosts, shared_over_cells
from nova_sched.migration.cloud import Cloud
from nova_sched.migration.from_logs import placement_of
from nova_sched.migration.model import Placement
from nova_sched.process.text import decoded, one_line
from rpc_api import errors
from rpc_api.wording import number_of

ACCOUNT = """\
The account of the cloud is that of the variables OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, ... as an openrc file sets
them (any plugin of keystoneauth1: OS_AUTH_TYPE), or of clouds.yaml (--os-cloud, OS_CLOUD). It needs the rights of an
administrator. Endpoints come from the catalog of Keystone; once Placement's endpoint in the catalog is ours, name the
other one with --placement.
"""
IMPORT_EPILOG = f"""\
{ACCOUNT}
What differs is written into the logs, with the generations of the cloud, and compared again, until nothing differs.
Repeat the command as often as you like. docs/operating/migration.md has the whole way, and the way back.

examples:
  nova-sched import
  nova-sched import --cell-database cell1=mysql+pymysql://nova:secret@db/nova_cell1
  nova-sched import --placement http://controller:8778 --placement-only
  nova-sched import --nova-only --cell-database cell1=mysql+pymysql://nova:secret@db/nova_cell1

exit codes: 0 nothing differs any more, 1 something still differs, 2 wrong usage, 3 a log, a service or a database
cannot be reached, 5 a log is pinned to a level that this version does not know
"""
COMPARE_EPILOG = f"""\
{ACCOUNT}
Each line is one difference: of a provider, a consumer, a resource class, a trait, an aggregate, a host or an instance.
Generations are equal after an import, and not after an export: they count with --generations only.

examples:
  nova-sched compare
  nova-sched compare --placement http://controller:8778 --placement-only -o json

exit codes: 0 nothing differs, 1 something differs, 2 wrong usage, 3 a log, a service or a database cannot be reached
"""
EXPORT_EPILOG = f"""\
{ACCOUNT}
The Placement gets the providers, resource classes, traits, aggregates, consumers and allocations of the logs, and loses
all others. No client may use it meanwhile. Repeat the command until nothing differs.

A server that was claimed in a log below level 4 has no user there: its project and user come from Nova, which is asked
only if such consumers exist.

examples:
  nova-sched export --placement http://controller:8780

exit codes: 0 nothing differs any more, 1 something still differs, 2 wrong usage, or a consumer without a project or a
user, 3 a log, the Placement or Nova cannot be reached
"""
ROUNDS = 3
#: Header Server of our own Placement API (placement_api/handlers/root.py).
OURS = "nova_sched"
#: More requests side by side than this only wait for each other.
THREADS_MAX = 64
#: Differences and refusals that are shown of an import or an export.
SHOWN = 20
#: What is read of a Placement that is not asked.
NOTHING = Placement({}, {}, frozenset(), frozenset())
COLUMNS = ("kind", "id", "name", "what", "cloud", "ours")


class _Migration(ReplayCommand):
    when_down = REFUSED

    def add_arguments(self, parser):
        parser.add_argument(
            "--placement", metavar="URL", help="endpoint of the stock Placement (default: that of the catalog)"
        )
        parser.add_argument(
            "--threads",
            action=Number,
            most=THREADS_MAX,
            default=from_placement.THREADS,
            help=f"requests to Placement side by side (default: {from_placement.THREADS})",
        )
        add_cloud(parser, "the cloud to log in to")
        add_config_file(parser, "configuration of the services, which names the logs (default: /etc/nova_sched/...)")

    def _begin(self, source, arguments, placement=True):
        """Look at the arguments, and fold the logs. Without ``placement`` nobody asks the stock one."""
        self._login = login(arguments.os_cloud)
        self._placement = Service("placement", self._login, arguments.placement)
        if placement and arguments.placement is None and self._placement.ask("GET", ROOT).server == OURS:
            raise errors.UsageError(
                "the endpoint of Placement in the catalog is that of nova_sched, which has what the logs have; name "
                "the stock Placement with --placement"
            )
        with self.history(source, arguments) as history:
            world = history.world_at({cell: log.bounds().last for cell, log in source.logs.items()})
        for projection in world.projections.values():
            if projection.is_too_new:
                raise projection.unknown_level()
        return world.projections

    def _read(self, arguments, label):
        with output.progress(self.err, not self.option(arguments, "no_progress")) as update:
            return from_placement.read(
                self._placement, arguments.threads, lambda what, *done: update(f"{label}: {what}", *done)
            )

    def _tell_some(self, sentences):
        for sentence in sentences[:SHOWN]:
            self.say(one_line(sentence))
        if len(sentences) > SHOWN:
            self.say(f"and {len(sentences) - SHOWN} more")


def _add_nova(parser, without):
    """Add the options about Nova; ``without`` is the help of the one that leaves it out. Returns the group of options
    of which one at most may be there."""
    parser.add_argument("--nova", metavar="URL", help="endpoint of Nova (default: that of the catalog)")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--placement-only", action="store_true", help=without)
    return parts


class _FromCloud(_Migration):
    def add_arguments(self, parser):
        super().add_arguments(parser)
        parts = _add_nova(parser, "leave Nova out: aggregates, services, instances, server groups")
        parts.add_argument(
            "--nova-only",
            action="store_true",
            help="leave Placement out: only aggregates, services, instances with their server groups, and with "
            "--cell-database facts of hosts, NUMA nodes and PCI devices; also after clients wrote to our Placement API",
        )
        parser.add_argument(
            "--cell-database",
            action="append",
            default=[],
            metavar="CELL=URL",
            dest="databases",
            help="database of a cell of Nova, for the facts of hosts, NUMA nodes and PCI devices; it is only read "
            "(mysql+pymysql://...)",
        )
        cells = parser.add_mutually_exclusive_group()
        cells.add_argument(
            "--hosts", metavar="FILE", help="what nova-manage cell_v2 list_hosts prints, if there are several cells"
        )
        cells.add_argument(
            "--api-database",
            metavar="URL",
            help="the same from the API database of Nova, whose cells have the names of the logs; it is only read",
        )

    def _cloud(self, arguments, label):
        found = NOTHING if arguments.nova_only else self._read(arguments, label)
        nova = None
        if not arguments.placement_only:
            nova = from_nova.read(Service("compute", self._login, arguments.nova))
        return Cloud(found, nova, {cell: cell_database.read(url) for cell, url in self._databases(arguments)})

    def _tell_notes(self, cloud, projections):
        """What a person should know, and no import can correct."""
        for facts in cloud.databases.values():
            self._tell_some(facts.faults)
        self._tell_some(nova_hosts.notes_of(cloud, projections))
        self._tell_some(shared_over_cells(cloud.placement, projections))

    def _databases(self, arguments):
        for text in arguments.databases:
            cell, equals, url = text.partition("=")
            if not equals or "://" not in url or "://" in cell:
                raise errors.UsageError("--cell-database names no cell and URL, wanted CELL=mysql+pymysql://...")
            yield cell, url

    def _hosts(self, arguments):
        if arguments.api_database is not None:
            return cell_database.hosts_of_cells(arguments.api_database)
        if arguments.hosts is None:
            return {}
        try:
            return read_hosts(decoded(Path(arguments.hosts).read_bytes(), f"--hosts {arguments.hosts}"))
        except OSError as fault:
            raise errors.UsageError(f"--hosts {arguments.hosts} cannot be read ({fault}); check the file") from None


class Import(_FromCloud):
    """Take over a running cloud: write what differs from its Placement and Nova into the logs."""

    EPILOG = IMPORT_EPILOG

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument(
            "--rounds",
            action=Number,
            default=ROUNDS,
            help=f"how often to read and write until nothing differs (default: {ROUNDS})",
        )
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="import although clients have written to the Placement API of nova_sched: what differs there is lost",
        )
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )

    def run_on(self, source, arguments):
        projections = self._begin(source, arguments, not arguments.nova_only)
        hosts = self._hosts(arguments)
        importer = take_over.TakeOver(source.logs, projections, arguments.name)
        written = None
        for number in range(1, arguments.rounds + 2):
            importer.follow()
            before = nova_only.seen(projections) if arguments.nova_only else None
            cloud = self._cloud(arguments, f"round {number}")
            importer.follow()
            if before is not None:
                cloud = nova_only.without_placement(cloud, projections)
            found = take_over.differences(cloud, projections, generations=True)
            is_stuck = written is not None and not written.events and not written.newer
            if not found or number > arguments.rounds or is_stuck:
                break
            if before is None:
                if not arguments.overwrite:
                    _check_unused(projections)
                written = importer.round(cloud, hosts)
            else:
                written = importer.nova_round(cloud, before)
            self.out.write(
                f"round {number}: {number_of(len(found), 'difference')}, {number_of(written.events, 'event')} written, "
                f"{len(written.refusals)} without effect\n"
            )
            self._tell_some([refusal.sentence() for refusal in written.refusals])
        self._tell_notes(cloud, projections)
        return self._end(arguments, cloud, found)

    def _end(self, arguments, cloud, found):
        placement, nova = cloud.placement, cloud.nova
        counts = [(len(placement.providers), "provider"), (len(placement.consumers), "consumer")]
        if nova is not None and arguments.nova_only:
            counts = [(len(nova.aggregates), "aggregate"), (len(nova.services), "service")]
            counts.append((len(nova.instances), "instance"))
        self.out.write(
            f"{', '.join(number_of(*count) for count in counts)}: "
            f"{len(found) or 'no'} {'difference' if len(found) == 1 else 'differences'} left\n"
        )
        self._tell_some([one.sentence() for one in found])
        if any(one.kind == "host" and one.what == "known" and one.ours is None for one in found):
            self.say("hosts without facts: start the tap of their cell, or name its database with --cell-database")
        return errors.EXIT_NEGATIVE if found else errors.EXIT_OK


def _check_unused(projections):
    """UsageError if clients have written to our API: the state of the cloud's Placement is an older one then."""
    for cell, projection in projections.items():
        writer = min((name for name in projection.producers if name.startswith("placement/")), default=None)
        if writer is not None:
            raise errors.UsageError(
                f"clients have written to the Placement API of nova_sched ({writer} in the log of {cell}), and an "
                "import would undo that; bring in only what Nova has with --nova-only, or see nova-sched compare, and "
                "add --overwrite if the cloud is right"
            )


class Compare(_FromCloud):
    """Compare a running cloud with the logs, and name every difference."""

    EPILOG = COMPARE_EPILOG

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument(
            "--generations", action="store_true", help="count generations of providers and consumers as differences"
        )
        output.add_form(parser, ("lines", *output.FORMS))

    def run_on(self, source, arguments):
        projections = self._begin(source, arguments, not arguments.nova_only)
        cloud = self._cloud(arguments, "cloud")
        if arguments.nova_only:
            cloud = nova_only.without_placement(cloud, projections)
        found = take_over.differences(cloud, projections, arguments.generations, owners=cloud.owners())
        self._tell_notes(cloud, projections)
        if arguments.output == "lines":
            self.out.writelines(f"{one_line(one.sentence())}\n" for one in found)
        else:
            rows = output.Rows(self.out, arguments.output, COLUMNS, (), self.paint)
            for one in found:
                rows.write(one._asdict())
            rows.end()
        self.say(f"{len(found)} {'difference' if len(found) == 1 else 'differences'}")
        return errors.EXIT_NEGATIVE if found else errors.EXIT_OK


class Export(_Migration):
    """Give a cloud back: write the state of the logs into a stock Placement."""

    EPILOG = EXPORT_EPILOG

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_nova(parser, "do not ask Nova for the users of servers that the logs do not have")

    def run_on(self, source, arguments):
        if arguments.placement is None:
            raise errors.UsageError(
                "--placement is missing, wanted the endpoint of the stock Placement: that of the catalog may be ours"
            )
        projections = self._begin(source, arguments)
        known = self._owners(arguments, owners.without_owner(placement_of(projections)))
        ours = owners.with_owners(placement_of(projections), known)
        owners.check_complete(ours, asked=not arguments.placement_only)
        there = self._read(arguments, "before")
        found = compare.differences_of(there, ours, generations=False)
        if found:
            with output.progress(self.err, not self.option(arguments, "no_progress")) as update:
                writer = to_placement.Writer(self._placement, there, arguments.threads, update)
                writer.bring_to(ours)
            self.out.write(
                f"{number_of(len(found), 'difference')}, {number_of(writer.written, 'write')}, {len(writer.refused)} "
                "without effect\n"
            )
            self._tell_some(writer.refused)
            found = compare.differences_of(self._read(arguments, "after"), ours, generations=False)
        self.out.write(
            f"{number_of(len(ours.providers), 'provider')}, {number_of(len(ours.consumers), 'consumer')}: "
            f"{len(found) or 'no'} {'difference' if len(found) == 1 else 'differences'} left\n"
        )
        self._tell_some([one.sentence() for one in found])
        return errors.EXIT_NEGATIVE if found else errors.EXIT_OK

    def _owners(self, arguments, uuids):
        """The owners of some consumers, from Nova; Nova is not asked about none."""
        if not uuids or arguments.placement_only:
            return {}
        service = Service("compute", self._login, arguments.nova)
        with output.progress(self.err, not self.option(arguments, "no_progress")) as update, understood("compute"):
            found = owners.of_servers(NovaApi(service), uuids, arguments.threads, update)
        self.out.write(f"{len(found)} of {number_of(len(uuids), 'consumer')} without a user: owners from Nova\n")
        return found
