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

    ``words``: command -> the words that may follow it. The key "" is for the program itself; the command of a command
    is separated by a blank.
    """
    commands = "|".join(f"'{command}'" for command in words if command) or "' '"
    cases = "\n".join(f"    '{command}') words='{' '.join(found)}' ;;" for command, found in words.items())
    return _SCRIPT.format(program=program, function="_" + re.sub(r"\W", "_", program), commands=commands, cases=cases)


def asked(argv) -> bool:
    """Return whether a command line asks for the script anywhere."""
    argv = list(argv)
    return any(argument == OPTION and after in SHELLS for argument, after in itertools.pairwise(argv)) or any(
        argument in [f"{OPTION}={shell}" for shell in SHELLS] for argument in argv
    )


def of_options(conf, program: str, **names) -> str:
    """Return the script for a program whose command line ``conf`` reads; ``names`` are further arguments of
    ``conf``."""
    help_text = io.StringIO()
    with contextlib.redirect_stdout(help_text), contextlib.suppress(SystemExit):
        conf(["--help"], prog=program, default_config_files=[], default_config_dirs=[], **names)
    # Options are listed only in the lines that begin with one.
    listed = re.findall(r"^\s{1,4}(-.*?)(?:\s{2}|$)", help_text.getvalue(), re.MULTILINE)
    return script(
        program, {"": sorted({option for text in listed for option in re.findall(r"-{1,2}[A-Za-z][\w-]*", text)})}
    )
