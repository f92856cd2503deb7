"""``complete``: completion of the command line in bash and zsh."""

from cliff.command import Command

from nova_sched.process import completion

EPILOG = "exit codes: 0 printed, 2 wrong usage"


class Complete(Command):
    """Print a completion script for this command, for eval in bash or zsh."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.epilog = EPILOG
        parser.add_argument("--shell", choices=completion.SHELLS, help="the shell (the script is the same for both)")
        return parser

    def take_action(self, parsed):
        """Print the script."""
        self.app.stdout.write(completion.script(self.app.NAME, words_of(self.app)))


def words_of(app) -> dict[str, list[str]]:
    """Return command -> the options that may follow it; the key "" is for the program itself. ``help`` takes each
    command as its words."""
    found = {}
    for name in sorted({name for name, _ in app.command_manager}):
        factory, _, _ = app.command_manager.find_command([name])
        nested = getattr(factory, "APP", None)
        if nested is not None:
            found.update({f"{name} {command}".strip(): words for command, words in words_of(nested()).items()})
        else:
            found[name] = _options(
                factory(app, app.options if hasattr(app, "options") else None, cmd_name=name).get_parser(name)
            )
    helped = {f"help {command}": [] for command in found if "help" not in command.split()}
    return {"": _options(app.parser), **found, **helped}


def _options(parser):
    return [option for action in parser._actions for option in action.option_strings]
