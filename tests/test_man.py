"""Manual pages: one for each program, with each option of its parser, and in a form that man accepts."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The generator is a program, whose modules are beside it.
sys.path.insert(0, str(ROOT / "docs" / "reference"))
import man_pages  # noqa: E402
import programs  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROGRAMS = sorted(PROJECT["scripts"])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The directory with all pages, as make man writes them."""
    folder = tmp_path_factory.mktemp("man")
    man_pages.main(folder)
    return folder


def as_read(roff):
    """A page without what is for the formatter only."""
    return re.sub(r"\\f[BIR]|\\&", "", roff).replace("\\-", "-").replace("\\e", "\\")


def test_there_is_a_page_for_each_program(written):
    assert {path.name for path in written.iterdir()} == {f"{program}.1" for program in PROGRAMS}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_page_has_every_option_and_command(written, program):
    page = as_read((written / f"{program}.1").read_text())
    command = programs.read(program)
    assert len(command.options) >= 6
    for part in (command, *command.commands):
        for option in part.options:
            for name in option.names:
                assert re.search(rf"(?m)^(.*, )?{re.escape(name)}(,| |$)", page), f"{part.name} {name}"
    for part in command.commands:
        assert f"\n.SS {part.name.removeprefix(program).strip()}\n" in page


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_page_has_the_files_of_the_program(written, program):
    files = as_read((written / f"{program}.1").read_text()).partition("\n.SH FILES\n")[2]
    assert f"/etc/nova_sched/{program}.conf" in files and "/etc/nova_sched/nova_sched.conf.d" in files


@pytest.mark.parametrize("program", sorted(set(PROGRAMS) - set(programs.COMMANDS)))
def test_a_page_has_the_options_of_files(written, program):
    options = as_read((written / f"{program}.1").read_text()).partition("\n.SH FILES\n")[0]
    assert "Defaults to nova_sched.conf and the file with the name of the program." in options
    assert re.search(r"(?m)^--config-file PATH$", options) and re.search(r"(?m)^--config-dir DIR$", options)


@pytest.mark.parametrize("program", ["nova-sched", "nova-sched-replay"])
def test_every_entry_point_is_a_command_of_its_program(program):
    entries = PROJECT["entry-points"][programs.COMMANDS[program]]
    names = {command.name.removeprefix(f"{program} ") for command in programs.read(program).commands}
    assert names == {name.replace("_", " ") for name in entries} | {"help", "complete"}


@pytest.mark.parametrize("program", sorted(programs.COMMANDS))
def test_a_command_has_its_exit_codes(program):
    # The words of "nova-sched replay" are those of nova-sched-replay.
    commands = [command for command in programs.read(program).commands if command.name != "nova-sched replay"]
    lacking = [command.name for command in commands if not re.search(r"(?s)exit codes:\s+0 .*\b2\s", command.epilog)]
    assert lacking == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_formatter_has_no_warning(written, program):
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed; install the package groff-base")
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", str(written / f"{program}.1")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "text, roff", [(".so x", "\\&.so x"), ("a-b", "a\\-b"), ("'x\n.y", "\\&'x\n\\&.y"), ("\\n", "\\en")]
)
def test_nothing_in_a_text_is_a_request(text, roff):
    assert man_pages.escaped(text) == roff


def test_the_units_name_pages_that_there_are():
    named = {
        name
        for unit in (ROOT / "etc" / "systemd").glob("*.service")
        for name in re.findall(r"^Documentation=man:([\w-]+)\(1\)$", unit.read_text(), re.M)
    }
    assert named <= set(PROGRAMS) and len(named) >= 4
