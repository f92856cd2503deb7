"""The programs and their options, read from their own parsers, for the manual pages and the page of the commands."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
_PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
#: Program -> group of the entry points of its commands.
COMMANDS = {"nova-sched": "nova_sched.cli", "nova-sched-replay": "nova_sched.replay"}
STATUS = "nova-sched-status"
#: What is read without --config-file, as its help names it.
DEFAULT_FILES = "nova_sched.conf and the file with the name of the program"


class Option(NamedTuple):
    """An option: its names (empty for an argument by position), the name of its value, and its help."""

    names: tuple[str, ...]
    value: str
    help: str


class Command(NamedTuple):
    """A program, or one of its commands: its name as it is typed, and what its parser says. ``commands`` are the names
    of further parts of a program."""

    name: str
    synopsis: str
    description: str
    options: tuple[Option, ...]
    epilog: str
    commands: tuple["Command", ...] = ()


def programs() -> list[str]:
    """The names of all programs that are installed."""
    return sorted(_PYPROJECT["scripts"])


def read(program: str) -> Command:
    """A program with all its commands."""
    module = _PYPROJECT["scripts"][program].partition(":")[0]
    if program in COMMANDS:
        return _of_cliff(program)
    if program == STATUS:
        return _of_status(module, program)
    return _of_service(importlib.import_module(module)._load(), program)


def _of_cliff(program):
    from nova_sched.cli import app as apps

    found = {app.NAME: app for app in (apps.NovaSched, apps.NovaSchedReplay)}[program]()
    entries = _PYPROJECT["entry-points"][COMMANDS[program]]
    extra = {"complete": apps.Complete, "help": apps.Help}
    commands = []
    for name, place in sorted({**entries, **extra}.items()):
        factory = _loaded(place) if isinstance(place, str) else place
        words = name.replace("_", " ")
        command = factory(found, None, cmd_name=words)
        if name == "replay" and program == "nova-sched":
            # It takes the words of nova-sched-replay.
            text = command.get_description()
            commands.append(Command(f"{program} replay", f"{program} replay ...", text, (), ""))
            continue
        parser = command.get_parser(f"{program} {words}")
        commands.append(_of_parser(parser, command.get_description()))
    return _of_parser(found.parser, found.parser.description)._replace(commands=tuple(commands))


def _loaded(place):
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def _of_service(app, program):
    from oslo_config import cfg

    from nova_sched.process import process

    conf = cfg.ConfigOpts()
    process.register_options(conf, app)
    return _of_conf(conf, program, app.DESCRIPTION, process.HELP_END)


def _of_status(module, program):
    status = importlib.import_module(module)
    conf, _ = status.options()
    return _of_conf(conf, program, status.DESCRIPTION, status.EPILOG)


def _of_conf(conf, program, description, epilog):
    conf._pre_setup("nova_sched", program, "", None, description, epilog, [], [])
    # (oslo.config has no public name for its parser.)
    files = [(option, None) for option in conf._make_config_options([], [])]
    for option, group in [*files, *conf._all_cli_opts()]:
        option._add_to_cli(conf._oparser, group)
    conf._oparser.initialize_parser_arguments()
    for action in conf._oparser._actions:
        action.default = DEFAULT_FILES if action.dest == "config_file" else action.default
    return _of_parser(conf._oparser, description)


def _of_parser(parser, description):
    options, commands = [], []
    for action in parser._actions:
        choices = getattr(action, "_name_parser_map", None)
        if choices:
            commands += [_of_parser(choice, action.help or "") for choice in choices.values()]
            continue
        if action.help == "==SUPPRESS==":
            continue
        value = "" if action.nargs == 0 else _value_of(action)
        options.append(Option(tuple(action.option_strings), value, _help_of(parser, action)))
    formatter = parser._get_formatter()
    formatter.add_usage(parser.usage, [], [], prefix="")
    return Command(
        parser.prog, parser.prog, _plain(description), tuple(options), _plain(parser.epilog), tuple(commands)
    )


def _value_of(action):
    named = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    if action.choices is not None and action.metavar is None:
        return "{" + ",".join(map(str, action.choices)) + "}"
    named = " ".join(named) if isinstance(named, tuple) else named
    return f"{named} ..." if action.nargs in ("*", "+") else named


def _help_of(parser, action):
    text = action.help or ""
    names = {**vars(action), "prog": parser.prog}
    text = text % names if "%(" in text else text.replace("%%", "%")
    return re.sub(r"\s+", " ", text).strip()


def _plain(text):
    return (text or "").strip()
