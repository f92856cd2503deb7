"""Write a manual page for each program from its own parser, ``make man``: NAME.1 in the directory that is named."""

import re
import sys
from pathlib import Path

import programs

from nova_sched.process.version import version

SECTION = 1
CONFIGURATION = """\
/etc/nova_sched/nova_sched.conf, then {files}, then the files *.conf in /etc/nova_sched/nova_sched.conf.d. An option of
a later file wins. A file in ~/.nova_sched is read instead of that in /etc/nova_sched. The sample nova_sched.conf.sample
has all options with their help."""


def files_of(program: str) -> str:
    """What a program reads without --config-file."""
    own = f"/etc/nova_sched/{program}.conf"
    if program == programs.STATUS:
        own += " or, if there is none, /etc/nova_sched/nova-sched.conf"
    return CONFIGURATION.format(files=own)


def escaped(text: str) -> str:
    """A text in which nothing is a request or an escape of roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^([.'])", r"\\&\1", text)


def bold(text: str) -> str:
    """A text in bold."""
    return f"\\fB{escaped(text)}\\fR"


def option_lines(options) -> list[str]:
    """The lines of a list of options."""
    lines = []
    for option in options:
        value = f" \\fI{escaped(option.value)}\\fR" if option.value else ""
        named = ", ".join(bold(name) + value for name in option.names) or f"\\fI{escaped(option.value)}\\fR"
        lines += [".TP", named, escaped(option.help) or "\\&"]
    return lines


def example_lines(text: str) -> list[str]:
    """A text whose line breaks stay, such as examples."""
    return [".PP", ".nf", escaped(text), ".fi"] if text else []


def page(program: str) -> str:
    """The manual page of a program, in the form of man(7)."""
    command = programs.read(program)
    summary = re.split(r"(?<=[a-z)])[.:;](?=\s|$)", " ".join(command.description.split()))[0]
    lines = [
        '.\\" Written from the parsers of the programs by docs/reference/man_pages.py.',
        f'.TH {escaped(program.upper())} {SECTION} "" "nova_sched {version()}" "nova_sched"',
        ".SH NAME",
        f"{escaped(program)} \\- {escaped(summary)}",
        ".SH SYNOPSIS",
        f"{bold(program)} [\\fIoptions\\fR]" + (" \\fIcommand\\fR ..." if command.commands else ""),
        ".SH DESCRIPTION",
        escaped(command.description),
        ".SH OPTIONS",
        *option_lines(command.options),
    ]
    if command.commands:
        lines += [".SH COMMANDS"]
        for part in command.commands:
            lines += [f".SS {escaped(part.name.removeprefix(program).strip())}", escaped(part.description)]
            lines += [*option_lines(part.options), *example_lines(part.epilog)]
    if command.epilog:
        lines += [".SH NOTES", escaped(command.epilog)]
    others = [name for name in programs.programs() if name != program]
    lines += [
        ".SH FILES",
        escaped(files_of(program)),
        ".SH SEE ALSO",
        ", ".join(f"{bold(name)}({SECTION})" for name in others),
    ]
    return "\n".join(lines) + "\n"


def main(directory: str) -> None:
    """Write all pages."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for program in programs.programs():
        (folder / f"{program}.{SECTION}").write_text(page(program))


if __name__ == "__main__":
    from rpc_api import concurrency

    concurrency.setup()
    main(sys.argv[1])
