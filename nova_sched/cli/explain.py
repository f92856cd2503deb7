"""``nova-sched-replay explain``: why a request went where it went, or nowhere, in a few lines."""

import json

from nova_sched.cli.history import as_lines
from nova_sched.cli.numbers import Number
from nova_sched.cli.output import stamp
from nova_sched.cli.requests import RequestCommand, only_attempt
from nova_sched.process.text import one_line
from nova_sched.replay.decisions.explanation import facts_of
from nova_sched.replay.decisions.ledger_history import CONSUMER, as_json, found_by, past_of
from rpc_api import errors

EPILOG = """\
The first line counts each host once, under the first reason in the order of
the chain, so that the counts add up; of an instance that found a host it
begins with "chosen HOST:". How a request ended has a stable code: built,
on-host (its nova-compute reports it), claimed, no-valid-host,
cells-unreachable, refused (for a reason that is in no decision: a log or a
service failed), retries-exhausted, claim-refused, claim-lost, given-back,
deleted. Of a consumer that no decision is about, such
as a volume, it shows what history shows: who wrote its allocations.

examples:
  nova-sched-replay --log out/demo explain $INSTANCE
  nova-sched-replay --log out/demo explain $REQUEST -o json
  nova-sched-replay --log out/demo explain $INSTANCE --attempt 1

exit codes: 0 explained, 1 there is no such decision, 2 the id is ambiguous, 3
a log cannot be reached, 4 a log does not hold what the decision was made on
(what could be read is shown)
"""


class Explain(RequestCommand):
    """Explain how a request ended: one line that counts every host, and the nearest host for each reason."""

    EPILOG = EPILOG

    def add_more(self, parser):
        parser.add_argument("--attempt", action=Number, help="this attempt, from 1 on (the last one)")

    def run_on(self, source, arguments):
        try:
            return super().run_on(source, arguments)
        except errors.NovaSchedError as fault:
            # What no scheduler decided (a volume, or what Placement's API alone wrote) has a history.
            if type(fault) is not errors.NovaSchedError or not self._tell_history(source, arguments):
                raise
            return errors.EXIT_OK

    def _tell_history(self, source, arguments):
        """Show the history of a consumer that no decision is about; False if there is no such consumer."""
        with self.history(source, arguments) as history:
            try:
                kind, uuid = found_by(history, arguments.key)
            except errors.NovaSchedError:
                return False
            if kind != CONSUMER:
                return False
            past = past_of(history, kind, uuid)
        if arguments.output == "json":
            self.out.write(json.dumps([as_json(past)], indent=2) + "\n")
        else:
            self.lines(as_lines(past, self.paint))
        return True

    def tell(self, source, history, policies, by_instance, arguments):
        code, all_facts = errors.EXIT_OK, []
        for uuid, decisions in by_instance.items():
            facts = facts_of(history, policies, uuid, decisions, only_attempt(decisions, arguments.attempt))
            if facts["fault"]:
                self.say(f"nova-sched-replay explain: {facts['fault']}")
                code = errors.EXIT_GAP
            if arguments.output == "json":
                all_facts.append(facts)
            else:
                self.lines(self._text(facts, len(by_instance) > 1))
        if arguments.output == "json":
            self.out.write(json.dumps(all_facts, indent=2) + "\n")
        return code

    def _text(self, facts, several):
        if several:
            yield self.paint(facts["instance"], "bold")
        yield self.paint(facts["summary"], "bold")
        yield (
            one_line(f"  asked    {facts['asked']}")
            if facts["asked"]
            else "  asked    not known: the evidence cannot be read"
        )
        for reason in facts["reasons"]:
            text = (
                f"  {reason['hosts']:>5} {'host' if reason['hosts'] == 1 else 'hosts'} refused for {reason['reason']} "
                f"({reason['filter']})"
            )
            yield one_line(
                text + (f"; nearest: {reason['nearest']}: {reason['nearest_text']}" if reason["nearest"] else "")
            )
        requests = {attempt["request"] for attempt in facts["attempts"]}
        for attempt in facts["attempts"]:
            yield one_line("  " + _attempt_text(attempt, len(requests) > 1))
        if facts["behind"]:
            yield "  behind   the scheduler did not know of " + ", ".join(
                f"{count} {'record' if count == 1 else 'records'} of {cell}" for cell, count in facts["behind"].items()
            )
        if facts["closed"]:
            yield f"  closed   {', '.join(facts['closed'])}: the log could not be read, so nothing was placed there"
        for hint in facts["hints"]:
            yield one_line(f"  so       {hint}")
        yield one_line(f"  end      {facts['end']['code']}: {facts['end']['text']}")


def _attempt_text(attempt, names_request):
    of = f" of {attempt['request']}" if names_request else ""
    text = f"attempt {attempt['attempt']}{of} at {stamp(attempt['at_ns'])} by {attempt['scheduler']}: {attempt['said']}"
    others = attempt["lost_to"]
    for cause in others[-1:]:
        text += f"; {cause['what']} meanwhile, by {cause['producer']}"
    return text + (f", and {len(others) - 1} more" if len(others) > 1 else "")
