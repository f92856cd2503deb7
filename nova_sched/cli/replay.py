"""``nova-sched-replay replay``: fold logs to their ends; with ``--verify`` check all laws and make
recorded decisions again."""

from contextlib import ExitStack

from nova_sched.cli.catalogue import add_config_file, catalogue
from nova_sched.cli.command import REFUSED, ReplayCommand
from nova_sched.cli.numbers import Number
from nova_sched.cli.output import aligned
from nova_sched.process.text import one_line
from nova_sched.process.tuning import prepare_memory
from nova_sched.replay.decisions.explanation import attempt_of
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.logs.moments import parse_moment, resolve
from nova_sched.replay.verify.audit import Audit
from nova_sched.replay.verify.decisions import again
from nova_sched.replay.verify.laws import fold_all
from nova_sched.replay.verify.spool import Spool
from rpc_api import errors
from rpc_api.wording import number_of

EPILOG = """\
With --verify the end of each log is folded twice (record by record, and from a
snapshot taken on the way), an independent audit adds up all claims, and every
recorded decision is made again from the logs alone. A decision with another
result is shown with the first cause:
  policy    the policy is in none of the logs, or a class of it is not loaded
  position  a log does not have the records that the decision knew
  level     its scheduler did not know the level of the log
  plugin    a class of the deployment raised an error
  members   the evidence may lack members of a server group with very many of
            them that the logs do not know as members
  hosts     other hosts were chosen
  counts    the same hosts, but other numbers of refusals
  evidence  the same decision, but other reasons or scores than recorded
A decision of an older release is made again by its rules. If this release would
choose other hosts, it is listed apart ("older rules"), and is not a fault.

examples:
  nova-sched-replay --log out/demo replay
  nova-sched-replay --log out/demo replay --verify
  nova-sched-replay --log out/demo replay --verify --no-decisions
  nova-sched-replay --log out/demo replay --verify --instance $INSTANCE

exit codes: 0 folded (with --verify: all laws hold, all decisions are the same),
1 a law is broken, a decision differs, or a named instance has no decision, 2
wrong usage, 3 a log cannot be reached, 4 a log has a gap, or a decision cannot
be made again
"""


#: The release whose schedulers do not check claims before they publish them.
OLDER_RELEASE = "the release of level 1 (35fdbc0)"


class Replay(ReplayCommand):
    """Fold logs to their ends and show the state; --verify checks all laws and makes every decision again."""

    EPILOG = EPILOG
    when_down = REFUSED

    def add_arguments(self, parser):
        parser.add_argument("--verify", action="store_true", help="check all laws, and make recorded decisions again")
        parser.add_argument("--no-decisions", action="store_true", help="with --verify: do not make decisions again")
        parser.add_argument(
            "--instance",
            action="append",
            metavar="UUID",
            help="make only the decisions for this instance again (repeatable; implies --verify)",
        )
        parser.add_argument(
            "--from",
            dest="begin",
            metavar="MOMENT",
            help="start after this position or time (UTC; default: the first record)",
        )
        parser.add_argument(
            "--show", action=Number, least=0, default=10, help="number of findings of each kind to show (default: 10)"
        )
        add_config_file(parser)

    def run_on(self, source, arguments):
        begin = None if arguments.begin is None else resolve(parse_moment(arguments.begin, self.now_ns), source)
        prepare_memory()
        verify = arguments.verify or bool(arguments.instance)
        with ExitStack() as stack:
            history = stack.enter_context(self.history(source, arguments))
            spool = stack.enter_context(Spool()) if verify and not arguments.no_decisions else None
            audit = Audit(of_decisions=False) if verify else None
            policies = PolicyBook(catalogue(arguments))
            policies.logs = source.logs
            found = _Findings(self, arguments.show)
            self._fold(source, history, begin, audit, _taker(spool, policies), found)
            if spool is not None:
                self._decide(history, spool, policies, begin, arguments, found)
            return found.exit_code

    def _fold(self, source, history, begin, audit, take, found):
        rows = []
        for cell, log in sorted(source.logs.items()):
            folded = fold_all(history, cell, begin and begin[cell], audit, take)
            counts = folded.counts
            rows.append(
                (
                    cell,
                    folded.first,
                    folded.projection.position,
                    folded.records,
                    folded.events,
                    len(folded.projection.hosts),
                    counts["set-aside"],
                    counts["duplicate"],
                    counts["sequence-gap"],
                    folded.digest,
                )
            )
            for sentence in folded.breaches:
                found.broken(sentence)
            for sentence in folded.gaps:
                found.gap(sentence)
            if not folded.projection.whole and log.bounds().count:
                found.gap(
                    f"{cell}: the log begins at position {log.bounds().first}, and the state before it "
                    "is not known; name a store of snapshots that has it with --snapshots"
                )
        heads = ("cell", "from", "to", "records", "events", "hosts", "set aside", "duplicates", "gaps", "digest")
        self.out.write("\n".join(aligned(heads, rows, heads[1:9], self.paint)) + "\n")
        found.end("laws", _judged(audit.counts) if audit else None)

    def _decide(self, history, spool, policies, begin, arguments, found):
        spool.sort()
        only = set(arguments.instance or ())
        unknown = only - spool.instances(only)
        if unknown:
            raise errors.NovaSchedError(
                f"the logs of {', '.join(sorted(history.logs))} have no decision for {min(unknown)}; "
                "name another instance, or the missing logs"
            )
        for cell, position, why in spool.unreadable:
            found.impossible(f"{cell} {position}: the evidence cannot be read: {why}")
        for cell, position, instance in spool.without_claim():
            found.broken(f"{cell} {position}: the claim of the decision for {instance} is in no log")
        for replayed in again(
            history, spool, policies, lambda recorded: not only or recorded.decision.instance_uuid in only
        ):
            found.decision(replayed)
        found.end("decisions")


def _judged(counts):
    """Return how many claims and writes of Placement's API were accepted and refused."""
    text = (
        f"{number_of(counts['claims'], 'claim')} accepted, {counts['conflicts'] + counts['alternates_refused']} refused"
    )
    if counts["writes"] or counts["writes_refused"]:
        text += f"; {number_of(counts['writes'], 'write')} accepted, {counts['writes_refused']} refused"
    return text


def _taker(spool, policies):
    if spool is None:
        return None

    def take(cell, position, event, level):
        if event.name == "PolicyAdopted":
            policies.adopt(event.data, cell, position)
        elif event.name in ("DecisionMade", "ClaimProposed"):
            spool.note(cell, position, event, level)

    return take


class _Findings:
    """Show the first findings of each kind, and count all."""

    def __init__(self, command, shown):
        self._write = command.out.write
        self._paint = command.paint
        self._shown = shown
        self._counts = dict.fromkeys(("broken", "gap", "made", "different", "impossible", "older"), 0)

    def _note(self, kind, sentence):
        self._counts[kind] += 1
        if self._counts[kind] <= self._shown:
            word = {
                "broken": "broken law",
                "gap": "gap",
                "different": "differs",
                "impossible": "not made",
                "older": "older rules",
            }[kind]
            self._write(
                f"{self._paint(word, 'red' if kind in ('broken', 'different') else 'yellow')}: {one_line(sentence)}\n"
            )

    def broken(self, sentence):
        self._note("broken", sentence)

    def gap(self, sentence):
        self._note("gap", sentence)

    def impossible(self, sentence):
        self._note("impossible", sentence)

    def decision(self, replayed):
        """A :class:`~nova_sched.replay.verify.decisions.Replayed`."""
        self._counts["made"] += replayed.again is not None
        if replayed.now is not None:
            decision = replayed.recorded.decision
            self._note(
                "older",
                f"{replayed.recorded.cell} {replayed.recorded.position}: instance {decision.instance_uuid}, "
                f"attempt {attempt_of(decision)}, by {OLDER_RELEASE}: this one {replayed.now.text}",
            )
        if not replayed.same:
            decision = replayed.recorded.decision
            self._note(
                "impossible" if replayed.again is None else "different",
                f"{replayed.recorded.cell} {replayed.recorded.position}: instance {decision.instance_uuid}, "
                f"attempt {attempt_of(decision)} ({replayed.difference.code}): {replayed.difference.text}",
            )

    def end(self, what, more=None):
        """Write one line with the totals."""
        counts = self._counts
        if what == "decisions":
            self._write(
                f"{number_of(counts['made'], 'decision')} made again, {counts['different']} different"
                + (f", {counts['impossible']} could not be made again" if counts["impossible"] else "")
                + (f"; {counts['older']} of {OLDER_RELEASE} would be made otherwise today" if counts["older"] else "")
                + "\n"
            )
        elif more:
            self._write(f"{more}; {number_of(counts['broken'], 'law')} broken, {number_of(counts['gap'], 'gap')}\n")

    @property
    def exit_code(self):
        counts = self._counts
        if counts["broken"] or counts["different"]:
            return errors.EXIT_NEGATIVE
        return errors.EXIT_GAP if counts["gap"] or counts["impossible"] else errors.EXIT_OK
