"""The common part of show, explain and why-not: naming a request, and showing what it asked."""

import abc

from nova_sched.cli.catalogue import add_config_file, catalogue
from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.output import add_form
from nova_sched.replay.decisions.explanation import attempt_of, few
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.decisions.recorded import find
from rpc_api import errors
from rpc_api.wording import number_of


class RequestCommand(ReplayCommand):
    """A command about the decisions of one request or instance."""

    #: Names of the events that count as decisions.
    DECISIONS = ("DecisionMade",)

    def add_arguments(self, parser):
        parser.add_argument(
            "key",
            metavar="REQUEST|INSTANCE",
            help="a request id, or the uuid of an instance (its first 8 or more characters)",
        )
        self.add_more(parser)
        add_config_file(parser)
        add_form(parser, ("text", "json"))

    def add_more(self, parser) -> None:
        """Add the arguments of this command."""

    def run_on(self, source, arguments):
        policies = PolicyBook(catalogue(arguments))
        found = find(source, arguments.key, policies, self.DECISIONS)
        by_instance = {}
        for recorded in found:
            by_instance.setdefault(recorded.decision.instance_uuid, []).append(recorded)
        with self.history(source, arguments) as history:
            return self.tell(source, history, policies, by_instance, arguments)

    @abc.abstractmethod
    def tell(self, source, history, policies, by_instance, arguments) -> int:
        """Show the request; ``by_instance`` is instance -> its decisions (Recorded), in their order."""

    def lines(self, lines) -> None:
        """Write lines."""
        for line in lines:
            self.out.write(f"{line}\n")


def only_instance(by_instance, wanted):
    """Return the decisions of the named instance; UsageError if it is not clear which instance is meant."""
    if wanted is not None:
        found = [uuid for uuid in by_instance if uuid.startswith(wanted)]
        if len(found) != 1:
            raise errors.UsageError(
                f"--instance {wanted} matches {'none' if not found else 'several'} of {few(by_instance)}; name one"
            )
        return by_instance[found[0]]
    if len(by_instance) > 1:
        raise errors.UsageError(
            f"the request has {number_of(len(by_instance), 'instance')}, {few(by_instance)}; name one with --instance"
        )
    return next(iter(by_instance.values()))


def only_attempt(decisions, wanted):
    """Return the decision of an attempt, counted from 1 (None: the last); UsageError if there is no such attempt."""
    if wanted is None:
        return decisions[-1]
    found = [decision for decision in decisions if attempt_of(decision.decision) == wanted]
    if not found:
        attempts = ", ".join(str(attempt_of(decision.decision)) for decision in decisions)
        raise errors.UsageError(f"there is no attempt {wanted}, wanted one of {attempts}; fix --attempt")
    return found[-1]


def milliseconds(ns: int | None) -> str:
    """Return a duration in milliseconds, or in seconds from 10 s on; ``-`` for None."""
    if ns is None:
        return "-"
    return f"{ns / 1e9:.2f} s" if abs(ns) >= 10**10 else f"{ns / 1e6:.2f} ms"
