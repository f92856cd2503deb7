"""osc-placement, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project."""

import contextlib
import importlib.metadata
import io

from openstackclient import shell
from osc_lib.clientmanager import ClientManager

_options = []


def configure(facts):
    """Take how to reach the cloud."""
    _options[:] = [
        f"--os-auth-url={facts['auth_url']}",
        "--os-auth-type=password",
        "--os-username=placement",
        f"--os-password={facts['password']}",
        "--os-project-name=service",
        "--os-user-domain-id=default",
        "--os-project-domain-id=default",
        f"--os-region-name={facts['region']}",
    ]


def commands():
    """All commands of osc-placement, as they are typed."""
    found = importlib.metadata.entry_points(group="openstack.placement.v1")
    return sorted(entry.name.replace("_", " ") for entry in found)


def run(arguments):
    """(Exit code, what it prints, its errors) of a command."""
    return run_with(_options, arguments)


def run_with(options, arguments):
    """The same with other options of openstackclient."""
    if "placement" in vars(ClientManager):
        # A process keeps the client of its first command, with that one's microversion.
        vars(ClientManager)["placement"]._handle = None
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = shell.main([*options, *arguments])
    return [code, out.getvalue(), errors.getvalue()]


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (configure, commands, run, run_with)
