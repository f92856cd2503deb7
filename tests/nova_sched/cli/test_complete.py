"""Completion of command lines, in the shells themselves."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from importlib import metadata

import pytest

from nova_sched.cli import status
from nova_sched.cli.app import NovaSched, NovaSchedReplay
from nova_sched.cli.complete import words_of
from nova_sched.process import completion, process
from tests.end_to_end.processes import run

SECONDS_MAX = 30.0
REPLAY = completion.script("nova-sched-replay", words_of(NovaSchedReplay()))
ALL = completion.script("nova-sched", words_of(NovaSched()))
#: Program -> module of each program whose command line oslo.config reads.
OF_OSLO = {
    script.name: script.module
    for script in metadata.distribution("nova_sched").entry_points
    if script.group == "console_scripts" and script.module != "nova_sched.cli.main"
}

#: Script, what is typed, what is offered.
TYPED = [
    (REPLAY, "nova-sched-replay qua", ["quarantine"]),
    (REPLAY, "nova-sched-replay ", ["tail", "why-not", "complete"]),
    (REPLAY, "nova-sched-replay tail --fol", ["--follow"]),
    (REPLAY, "nova-sched-replay --no-c", ["--no-cache"]),
    (REPLAY, "nova-sched-replay --log x what-if --pol", ["--policy"]),
    (ALL, "nova-sched sim", ["simulate"]),
    (ALL, "nova-sched replay why", ["why-not"]),
    (ALL, "nova-sched replay tail --fol", ["--follow"]),
    (ALL, "nova-sched play --gen", ["--generate"]),
    (ALL, "nova-sched ", ["aggregate", "host", "policy", "service", "help", "play"]),
    (ALL, "nova-sched ho", ["host"]),
    (ALL, "nova-sched host ", ["disable", "drain", "enable", "list", "remove"]),
    (ALL, "nova-sched host di", ["disable"]),
    (ALL, "nova-sched --debug service list --as", ["--ask"]),
    (ALL, "nova-sched policy hi", ["history"]),
    (ALL, "nova-sched help host dr", ["drain"]),
    (ALL, "nova-sched help replay why", ["why-not"]),
    (REPLAY, "nova-sched-replay help quar", ["quarantine"]),
]


def shell(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed; bindep.txt names it")
    return name


@pytest.mark.parametrize("name", completion.SHELLS)
def test_the_script_can_be_parsed(name):
    subprocess.run([shell(name), "-n"], input=REPLAY + ALL, text=True, check=True)


@pytest.mark.parametrize("script, typed, offered", TYPED, ids=[row[1] for row in TYPED])
def test_bash_completes(script, typed, offered):
    (found,) = bash_offers(script, typed)
    assert set(offered) <= set(found)
    assert len(found) == 1 or typed.endswith(" ")


def bash_offers(script, *lines):
    """The words that bash offers for the last word of each line."""
    asked = ""
    for typed in lines:
        words = typed.split(" ")
        asked += (
            f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
            f'_{words[0].replace("-", "_")} {words[0]} "{words[-1]}"; echo "${{COMPREPLY[@]}}"\n'
        )
    done = subprocess.run(
        [shell("bash"), "--norc"], input=f"{script}\n{asked}", capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("app", [NovaSched, NovaSchedReplay])
def test_each_word_of_each_command_is_offered(app):
    """A command of any number of words: each of them completes the words before it, at its place only."""
    script = REPLAY if app is NovaSchedReplay else ALL
    commands = sorted(name for name, _ in app().command_manager)
    beginnings = sorted({" ".join(name.split()[:place]) for name in commands for place in range(len(name.split()))})
    offered = bash_offers(script, *(f"{app.NAME} {words}".strip() + " " for words in beginnings))
    for words, found in zip(beginnings, offered, strict=True):
        place = len(words.split())
        wanted = {name.split()[place] for name in commands if name.split()[:place] == words.split()}
        assert {word for word in found if not word.startswith("-")} == wanted, words


class Terminal:
    """A zsh on a terminal of its own, without files of the user's."""

    def __init__(self, home):
        self.pid, self._end = pty.fork()
        if self.pid == 0:
            os.environ.update(HOME=str(home), ZDOTDIR=str(home), TERM="dumb", PS1="", COLUMNS="400")
            os.execvp("zsh", ["zsh", "-f", "-i"])
        self.text = ""

    def type(self, text):
        os.write(self._end, text.encode())

    def wait_for(self, pattern):
        """What the terminal shows from now on, up to the first match."""
        until = time.monotonic() + SECONDS_MAX
        while not re.search(pattern, self.text):
            assert time.monotonic() < until, f"zsh did not show {pattern}: {self.text!r}"
            if select.select([self._end], [], [], 1.0)[0]:
                self.text += os.read(self._end, 65536).decode(errors="replace")
        return self.text

    def close(self):
        os.close(self._end)
        os.waitpid(self.pid, 0)


@pytest.fixture
def terminal(tmp_path):
    shell("zsh")
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


@pytest.mark.parametrize("before", ["", "autoload -U +X bashcompinit && bashcompinit; "], ids=["alone", "bashcompinit"])
@pytest.mark.parametrize(
    "script, typed, offered",
    [row for row in TYPED if len(row[2]) == 1],
    ids=[row[1] for row in TYPED if len(row[2]) == 1],
)
def test_zsh_completes(terminal, tmp_path, before, script, typed, offered):
    path = tmp_path / "script"
    path.write_text(script)
    terminal.type(f'{before}eval "$(cat {path})"; print re""ady\r')
    terminal.wait_for("ready")
    terminal.text = ""
    terminal.type(f"{typed}\t")
    assert "not found" not in terminal.wait_for(re.escape(offered[0]))


@pytest.mark.parametrize("program", OF_OSLO)
@pytest.mark.parametrize(
    "arguments",
    [
        ("--shell_completion", "bash"),
        ("--shell_completion=zsh",),
        ("--config-file", "/nowhere", "--shell_completion", "zsh"),
    ],
)
def test_programs_that_offer_the_option_print_theirs(program, arguments):
    done = subprocess.run(
        [sys.executable, "-m", OF_OSLO[program], *arguments], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"complete -o default -F _{program.replace('-', '_')} {program}\n")
    assert {"--config-file", "--config-dir", "--log-file", "--debug"} <= set(re.findall(r"--[\w-]+", done.stdout))
    subprocess.run([shell("bash"), "-n"], input=done.stdout, text=True, check=True)


def test_the_commands_of_a_program_of_oslo_are_offered(capsys):
    with pytest.raises(SystemExit):
        process.parse(status.options()[0], status.PROGRAM, [completion.OPTION, "bash"], commands=status.COMMANDS)
    script = capsys.readouterr().out
    for typed, offered in (("up", "upgrade"), ("upgrade ", "check"), ("upgrade check --js", "--json")):
        assert bash_offers(script, f"{status.PROGRAM} {typed}") == [[offered]]


def test_another_shell_is_a_wrong_option():
    done = run("scheduler", "--shell_completion", "fish")
    assert done.returncode == 2 and "argument --shell_completion" in done.stderr
