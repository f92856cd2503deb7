"""The policy with which a command decides: the one that was adopted last in the logs, or the default one."""

from nova_sched.cli.catalogue import catalogue
from nova_sched.replay.decisions.not_loaded import words_for
from nova_sched.replay.decisions.policies import HOW_TO_LOAD, Adopted, PolicyBook, PolicyMissing
from nova_sched.selection.policy import Policy
from rpc_api import errors, events


def add_default_policy(parser) -> None:
    """Add ``--default-policy``."""
    parser.add_argument(
        "--default-policy", action="store_true", help="use the default filters, not those of the adopted policy"
    )


def policy_of(recorded, arguments) -> tuple[Adopted, str, str]:
    """Return (the policy to use, its name in words, its filters that are not loaded in words); ``recorded`` is a
    :class:`~nova_sched.replay.state.capacity_question.Recorded`. UsageError if it cannot be used."""
    known = catalogue(arguments)
    if arguments.default_policy or recorded.policy is None:
        why = "" if arguments.default_policy else ", as no log names another"
        return Adopted(None, None, Policy(catalogue=known)), f"the default policy{why}", ""
    book = PolicyBook(known)
    book.adopt(events.PolicyAdopted(recorded.digest, recorded.policy), recorded.cell, recorded.position)
    try:
        adopted = book.get_adopted(recorded.digest)
    except PolicyMissing as fault:
        raise errors.UsageError(f"{fault}; or use --default-policy") from None
    return (
        adopted,
        f"the policy {recorded.digest}, adopted last ({recorded.cell} {recorded.position})",
        words_for(adopted.filters, ()),
    )


def say_lacking(command, lacking: str) -> None:
    """Report filters of the policy that did not run."""
    if lacking:
        command.say(
            f"{command.app.NAME} {command.cmd_name}: at most these fit: {lacking} of the policy is not loaded here "
            f"and did not run; {HOW_TO_LOAD}"
        )
