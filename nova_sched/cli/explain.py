"""``nova-sched explain``: why a request went where it went, or nowhere."""

import argparse
import json

from cliff.command import Command

from nova_sched.cli import catalogue, logs
from nova_sched.cli.text import one_line
from nova_sched.replay.decisions import LogBook, replay
from rpc_api import errors
from rpc_api.codec import Event

EPILOG = """\
examples:
  nova-sched explain req-5f0c... --log out/demo
  nova-sched explain 0244cc12-964f-556b-b1d1-4da21733ba88 --log cell0=sqlite:///log.cell0.db --log cell1=sqlite:///log.cell1.db

exit codes: 0 explained, 1 there is no such decision, 3 a log cannot be reached
"""


class Explain(Command):
    """Show the decisions of a request or an instance: the funnel of filters, the scores, and what became of them."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument("key", metavar="REQUEST|INSTANCE", help="a request id or the uuid of an instance")
        logs.add_arguments(parser)
        catalogue.add_config_file(parser)
        parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of the output (text)")
        return parser

    def take_action(self, arguments):
        with logs.Logs(arguments) as opened:
            book = LogBook(opened, catalogue.catalogue(arguments))
        found = book.of_request(arguments.key)
        if not found:
            raise errors.NovaSchedError(f"no decision for {arguments.key} is in {', '.join(sorted(book.records))}; "
                                        "name another request or instance, or the logs that are missing")
        instances = {one.decision.instance_uuid for one in found}
        again = {one.recorded.key: one for one in replay(book, instances)}
        if arguments.output == "json":
            for one in found:
                self.app.stdout.write(json.dumps(as_json(one)) + "\n")
        else:
            for one, following in zip(found, [*found[1:], None]):
                lines = [*as_text(one, again[one.key], book)]
                if following is None or following.decision.instance_uuid != one.decision.instance_uuid:
                    lines += afterwards(one.decision.instance_uuid, book)
                self.app.stdout.write("\n".join(map(one_line, lines)) + "\n")
        return 0


def as_json(recorded):
    """A decision with its evidence as plain values."""
    plain = {name: value for name, value in recorded.decision._asdict().items() if name != "evidence"}
    return {"cell": recorded.cell, "position": recorded.position, "scheduler": recorded.producer, **plain,
            "evidence": _plain(recorded.evidence)}


def _plain(value):
    if hasattr(value, "_asdict"):
        return {name: _plain(item) for name, item in value._asdict().items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def as_text(recorded, again, book):
    """Lines that explain one decision."""
    decision, evidence = recorded.decision, recorded.evidence
    request = evidence.request
    yield f"instance {decision.instance_uuid} of {decision.request_id}, attempt {decision.attempt}"
    yield f"  decided by   {recorded.producer} in {decision.took_ns / 1e6:.2f} ms, policy {evidence.policy_digest}, " \
          f"seed {evidence.seed}"
    yield "  knowing      " + ", ".join(
        f"{position.cell} to {position.position}" + (
            f" and {position.last_in_flight - position.first_in_flight + 1} own events under way"
            if position.last_in_flight else "") for position in evidence.positions)
    yield "  asked for    " + _asked_for(request)
    yield f"  outcome      {decision.outcome}: {decision.reason}"
    left = evidence.hosts_total
    for count in evidence.refusals:
        left -= count.hosts
        yield f"    {count.filter:<32} {count.reason:<36} -{count.hosts:<7} {left} left"
    if evidence.scores:
        yield f"  hosts        {evidence.equals} shared the best score"
        for number, score in enumerate(evidence.scores):
            role = "chosen" if number == 0 else "alternate" if score.host in decision.hosts else "next"
            parts = ", ".join(f"{one.weigher} {one.weighed:+.3f} (of {one.raw:g})" for one in score.weighers)
            yield f"    {role:<9} {score.host:<24} {score.score:+.3f}" + (f"  = {parts}" if parts else "")
    if decision.claim_uuid is not None:
        reason = book.outcomes(recorded.cell).get(decision.claim_uuid, "it is not in the log")
        yield "  claim        accepted" if reason is None else f"  claim        refused: {reason}"
    yield "  replayed     the same" if again.same else f"  replayed     differs: {again.difference}"


def _asked_for(request):
    parts = []
    for group in request.groups:
        amounts = " ".join(f"{one.resource_class}:{one.amount}" for one in group.resources)
        traits = " ".join([*group.required_traits, *(f"!{trait}" for trait in group.forbidden_traits)])
        parts.append(f"{group.suffix + ' ' if group.suffix else ''}{amounts}{' ' + traits if traits else ''}")
    text = "; ".join(parts)
    if request.server_group:
        text += f"; {request.server_group.policy} in group {request.server_group.uuid}"
        if request.server_group.partition is not None:
            text += f", partition {request.server_group.partition}"
    return text


def afterwards(instance, book):
    """What the logs say of an instance beside the decisions, one line an event."""
    yield f"events of {instance}"
    for cell, records in sorted(book.records.items()):
        outcomes = book.outcomes(cell)
        for position, record in records:
            for event in record.events:
                if isinstance(event, Event) and event.name != "DecisionMade" and _about(event.data) == instance:
                    yield f"  {cell + ' ' + str(position):<12} {event.name} {_detail(event, outcomes)}"


def _about(data):
    if hasattr(data, "instance_uuid"):
        return data.instance_uuid
    if hasattr(data, "consumer"):
        return data.consumer.instance_uuid
    return getattr(data, "consumer_uuid", None)


def _detail(event, outcomes):
    parts = [getattr(event.data, "host", ""), getattr(event.data, "reason", "")]
    if event.name == "ClaimProposed" and event.data.claim_uuid in outcomes:
        reason = outcomes[event.data.claim_uuid]
        parts.append("accepted" if reason is None else f"refused: {reason}")
    return " ".join(part for part in (*parts, f"by {event.producer}") if part)
