"""The common part of the commands that change something: who publishes, and how a cloud is asked."""

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.create_log import user


def add_cloud(parser, what: str) -> None:
    """Add ``--os-cloud``; ``what`` is the start of its help."""
    parser.add_argument(
        "--os-cloud", metavar="NAME", help=f"{what}, in clouds.yaml (default: $OS_CLOUD, or the other OS_ variables)"
    )


class OperatorCommand(ReplayCommand):
    """A command that may append events of an operator, or change something in Nova."""

    _nova = None

    def add_operator(self, parser, with_nova: bool = True) -> None:
        """Add ``--name``, and ``--os-cloud`` where Nova may be asked."""
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )
        if with_nova and not hasattr(self.app, "client_manager"):
            add_cloud(parser, "a cloud, to ask Nova about its own hosts")

    def nova(self, arguments):
        """The :class:`~nova_sched.clients.nova.NovaApi`: with the session of python-openstackclient, or one of our
        own."""
        if self._nova is None:
            from nova_sched.clients.nova import NovaApi
            from nova_sched.clients.service import Service

            self._nova = NovaApi(Service("compute", self._login(arguments)))
        return self._nova

    def _login(self, arguments):
        from nova_sched.clients.login import login
        from nova_sched.clients.service import Login

        manager = getattr(self.app, "client_manager", None)
        if manager is None:
            return login(arguments.os_cloud)
        # python-openstackclient logs in before a command that wants it; ours want it only for hosts of Nova.
        self.auth_required = True
        self.app.prepare_to_run_command(self)
        return Login(manager.session, manager.region_name, manager.interface)
