"""Completion of command lines: one script for bash and zsh.

The completion of oslo.config (``--shell_completion``) needs templates that its package does not ship. That of cliff
needs functions of the package bash-completion, and an expansion that zsh does not have.
"""

import contextlib
import io
import itertools
import re

OPTION = "--shell_completion"
SHELLS = ("bash", "zsh")
_SCRIPT = """\
{function}()
{{
  local known='' word='' words='' position=0
  for word in "${{COMP_WORDS[@]}}"; do
    if [ "$position" -gt 0 ] && [ "$position" -lt "$COMP_CWORD" ]; then
      case "${{known:+$known }}$word" in
        {commands}) known="${{known:+$known }}$word" ;;
      esac
    fi
    position=$((position + 1))
  done
  case "$known" in
{cases}
  esac
  COMPREPLY=( $(compgen -W "$words" -- "$2") )
}}
if [ -n "${{ZSH_VERSION-}}" ]; then
  typeset -f compdef > /dev/null || {{ autoload -U compinit && compinit -u; }}
  autoload -U +X bashcompinit && bashcompinit
fi
complete -o default -F {function} {program}
"""


def script(program: str, words: dict[str, list[str]]) -> str:
    """Return the script for ``eval`` in either shell.

    ``words``: command -> the options that may follow it. The key "" is for the program itself. The words of a command
    are separated by blanks; each word of it completes the words before.
    """
    words = _with_beginnings(words)
    commands = "|".join(f"'{command}'" for command in words if command) or "' '"
    cases = "\n".join(f"    '{command}') words='{' '.join(found)}' ;;" for command, found in words.items())
    return _SCRIPT.format(program=program, function="_" + re.sub(r"\W", "_", program), commands=commands, cases=cases)


def _with_beginnings(words):
    """Return ``words`` with each beginning of a command, and the next words of commands in front of the options."""
    found = {"": []}
    for command in words:
        before = ""
        for word in command.split():
            if word not in found[before]:
                found[before].append(word)
            before = f"{before} {word}".strip()
            found.setdefault(before, [])
    return {command: [*following, *words.get(command, ())] for command, following in found.items()}


def asked(argv) -> bool:
    """Return whether a command line asks for the script anywhere."""
    argv = list(argv)
    return any(argument == OPTION and after in SHELLS for argument, after in itertools.pairwise(argv)) or any(
        argument in [f"{OPTION}={shell}" for shell in SHELLS] for argument in argv
    )


def of_options(conf, program: str, commands=(), **names) -> str:
    """Return the script for a program whose command line ``conf`` reads. ``commands`` are its commands, such as
    ``"upgrade check"``; ``names`` are further arguments of ``conf``."""
    return script(program, {command: _options(conf, program, command, names) for command in ("", *commands)})


def _options(conf, program, command, names):
    """The options that the help of a command lists."""
    help_text = io.StringIO()
    with contextlib.redirect_stdout(help_text), contextlib.suppress(SystemExit):
        conf([*command.split(), "--help"], prog=program, default_config_files=[], default_config_dirs=[], **names)
    # Options are listed only in the lines that begin with one.
    listed = re.findall(r"^\s{1,4}(-.*?)(?:\s{2}|$)", help_text.getvalue(), re.MULTILINE)
    return sorted({option for text in listed for option in re.findall(r"-{1,2}[A-Za-z][\w-]*", text)})
