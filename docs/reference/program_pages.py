"""The pages of the reference about programs, policies and the sample: cli.md and policy.md."""

import programs
from as_markdown import GENERATED, one_line, table

from placement_api import policies

#: What argparse adds to each parser.
HELP = "--help"


def cli_text() -> str:
    """cli.md"""
    lines = [
        GENERATED,
        "# Programs and their options",
        "",
        "Each program has a manual page with the same content (`make man`). Exit codes are in "
        "[commands](../operating/commands.md). Options of libraries (oslo.config, oslo.log, cliff), which all programs "
        "of a kind have, are listed without their help.",
        "",
    ]
    found = {name: programs.read(name) for name in programs.programs()}
    common = set.intersection(*({option.names for option in of.options} for of in found.values() if not of.commands))
    for name, program in found.items():
        lines += [f"## {name}", "", one_line(program.description), ""]
        own = [option for option in program.options if option.names not in common and not _is_of_cliff(option)]
        rest = [option for option in program.options if option not in own]
        lines += _options(own)
        lines += [f"Of libraries: {', '.join(f'`{option.names[0]}`' for option in rest)}.", ""]
        for command in program.commands:
            lines += [f"### {command.name}", "", one_line(command.description), "", *_options(command.options)]
    return "\n".join(lines)


def _is_of_cliff(option):
    return option.names[-1] in ("--version", "--verbose", "--quiet", "--log-file", "--debug", HELP)


def _options(options):
    return table(
        ("option", "what it does"),
        (
            (f"`{_typed(option)}`".replace("|", "\\|"), one_line(option.help))
            for option in options
            if HELP not in option.names
        ),
    )


def _typed(option):
    return f"{', '.join(option.names)} {option.value}".strip()


def policy_text() -> str:
    """policy.md"""
    lines = [
        GENERATED,
        "# Policies of the Placement API",
        "",
        "The rules of `policy.yaml` with their defaults. The names are Placement's, so a file that was written for "
        "Placement can be used. `oslopolicy-sample-generator --namespace nova_sched.placement_api` writes the same as "
        "a sample file.",
        "",
    ]
    return "\n".join(
        [
            *lines,
            *table(
                ("rule", "default", "requests", "what it allows"),
                (
                    (
                        f"`{rule.name}`",
                        f"`{rule.check_str or '(everybody)'}`",
                        "<br>".join(
                            f"`{operation['method']} {operation['path']}`"
                            for operation in getattr(rule, "operations", ())
                        ),
                        one_line(rule.description),
                    )
                    for rule in policies.list_rules()
                ),
            ),
        ]
    )
