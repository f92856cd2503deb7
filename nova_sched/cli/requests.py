"""What show, explain and why-not have in common: naming a request, and saying what it asked."""

import abc

from nova_sched.cli.catalogue import add_config_file, catalogue
from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.event_text import attempt_of
from nova_sched.process.text import one_line
from nova_sched.replay.decisions.policies import PolicyBook
from nova_sched.replay.decisions.recorded import find
from rpc_api import errors


class RequestCommand(ReplayCommand):
    """A command about the decisions of one request or instance."""

    def add_arguments(self, parser):
        parser.add_argument(
            "key",
            metavar="REQUEST|INSTANCE",
            help="a request id or the uuid of an instance (8 or more characters of its beginning)",
        )
        self.add_more(parser)
        add_config_file(parser)
        parser.add_argument(
            "-o", "--output", choices=("text", "json"), default="text", help="form of the output (text)"
        )

    def add_more(self, parser) -> None:
        """Add what this command has more."""

    def run_on(self, source, arguments):
        policies = PolicyBook(catalogue(arguments))
        found = find(source, arguments.key, policies)
        by_instance = {}
        for one in found:
            by_instance.setdefault(one.decision.instance_uuid, []).append(one)
        with self.history(source, arguments) as history:
            return self.tell(source, history, policies, by_instance, arguments)

    @abc.abstractmethod
    def tell(self, source, history, policies, by_instance, arguments) -> int:
        """Show it: ``by_instance`` is instance -> its decisions (Recorded), in the order in which they were made."""

    def lines(self, lines) -> None:
        """Write lines, of which texts from logs make no more."""
        for line in lines:
            self.out.write(f"{line}\n")


def only_instance(by_instance, wanted):
    """The decisions of the one instance that is meant; UsageError where that is not clear."""
    if wanted is not None:
        found = [uuid for uuid in by_instance if uuid.startswith(wanted)]
        if len(found) != 1:
            raise errors.UsageError(
                f"--instance {wanted} is {'none' if not found else 'several'} of {_few(by_instance)}; name one"
            )
        return by_instance[found[0]]
    if len(by_instance) > 1:
        raise errors.UsageError(
            f"the request has {len(by_instance)} instances, {_few(by_instance)}; name one with --instance"
        )
    return next(iter(by_instance.values()))


def _few(names, most=5):
    names = sorted(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def only_attempt(decisions, wanted):
    """The decision of an attempt, counted from 1 as they are shown (None: the last); UsageError where there is none."""
    if wanted is None:
        return decisions[-1]
    found = [one for one in decisions if attempt_of(one.decision) == wanted]
    if not found:
        attempts = ", ".join(str(attempt_of(one.decision)) for one in decisions)
        raise errors.UsageError(f"there is no attempt {wanted}, wanted one of {attempts}; mend --attempt")
    return found[-1]


def asked_for(request) -> str:
    """What a request asks for, in one line."""
    parts = [f"{request.flavor_name}:"] if request.flavor_name else []
    for group in request.groups:
        amounts = " ".join(f"{one.amount} {one.resource_class}" for one in group.resources)
        traits = " ".join([*group.required_traits, *(f"!{trait}" for trait in group.forbidden_traits)])
        parts.append(" ".join(filter(None, (f"[{group.suffix}]" if group.suffix else "", amounts, traits))))
    more = []
    if request.numa:
        more.append(f"{len(request.numa.cells)} NUMA nodes")
    if request.pci:
        more.append(f"{sum(one.count for one in request.pci)} PCI devices")
    if request.availability_zone:
        more.append(f"zone {request.availability_zone}")
    group = request.server_group
    if group:
        more.append(
            f"{group.policy} in group {group.uuid}"
            + (f", partition {group.partition}" if group.partition is not None else "")
        )
    for name, hosts in (
        ("forced to", (*request.force_hosts, *request.force_nodes)),
        ("not on", request.ignore_hosts),
        ("only on", filter(None, (request.target_host, request.target_node))),
        ("in cell", filter(None, (request.target_cell,))),
    ):
        hosts = list(hosts)
        if hosts:
            more.append(f"{name} {_few(hosts)}")
    if request.check_only:
        more.append("a rebuild: its host is checked only")
    return one_line("; ".join([" ".join(parts), *more]))


def summary_line(recorded) -> str:
    """The first line: what it came to, each host counted once under the first reason in the chain's order."""
    decision = recorded.decision
    return one_line(
        f"chosen {decision.hosts[0]}: {decision.reason}" if recorded.is_selected and decision.hosts else decision.reason
    )


def milliseconds(ns: int | None) -> str:
    """A duration."""
    if ns is None:
        return "-"
    return f"{ns / 1e9:.2f} s" if abs(ns) >= 10**10 else f"{ns / 1e6:.2f} ms"
