"""Completion of command lines, in the shells themselves."""

import os
import pty
import re
import select
import shutil
import subprocess
import time

import pytest

from nova_sched.cli.app import NovaSched, NovaSchedReplay
from nova_sched.cli.complete import words_of
from nova_sched.process import completion
from tests.end_to_end.processes import run

SECONDS_MAX = 30.0
REPLAY = completion.script("nova-sched-replay", words_of(NovaSchedReplay()))
ALL = completion.script("nova-sched", words_of(NovaSched()))

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
    words = typed.split(" ")
    asked = (
        f"COMP_WORDS=({' '.join(repr(word) for word in words)}); COMP_CWORD={len(words) - 1}\n"
        f'_{words[0].replace("-", "_")} {words[0]} "{words[-1]}"; printf "%s\\n" "${{COMPREPLY[@]}}"'
    )
    done = subprocess.run(
        [shell("bash"), "--norc", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert set(offered) <= set(done.stdout.split())
    assert len(done.stdout.split()) == 1 or words[-1] == ""


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


@pytest.mark.parametrize("service", ["scheduler", "conductor", "agent"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--shell_completion", "bash"),
        ("--shell_completion=zsh",),
        ("--config-file", "/nowhere", "--shell_completion", "zsh"),
    ],
)
def test_services_print_theirs(service, arguments):
    done = run(service, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(f"complete -o default -F _nova_sched_{service} nova-sched-{service}\n")
    assert {"--config-file", "--config-dir", "--log-file", "--debug"} <= set(re.findall(r"--[\w-]+", done.stdout))
    subprocess.run([shell("bash"), "-n"], input=done.stdout, text=True, check=True)


def test_another_shell_is_a_wrong_option():
    done = run("scheduler", "--shell_completion", "fish")
    assert done.returncode == 2 and "argument --shell_completion" in done.stderr
