"""The common part of the commands that change something: who publishes, and how Nova is asked."""

from nova_sched.cli.command import ReplayCommand
from nova_sched.cli.create_log import user
from rpc_api import errors

WITHOUT_SDK = (
    "openstacksdk is not installed, and {what}; install nova_sched[cloud], or use the command in python-openstackclient"
)


class OperatorCommand(ReplayCommand):
    """A command that may append events of an operator, or change something in Nova."""

    _compute = None

    def add_operator(self, parser, with_nova: bool = True) -> None:
        """Add ``--name``, and ``--os-cloud`` where Nova may be asked."""
        parser.add_argument(
            "--name",
            default=user(),
            help="publish as operator/NAME (default: the name of the user who runs the command)",
        )
        if with_nova and not hasattr(self.app, "client_manager"):
            parser.add_argument(
                "--os-cloud",
                metavar="NAME",
                help="a cloud in clouds.yaml, to ask Nova about its own hosts (default: $OS_CLOUD, or the other OS_ "
                "variables)",
            )

    def nova(self, arguments):
        """The :class:`~nova_sched.operate.compute_api.ComputeApi`: with the session of python-openstackclient, or of
        openstacksdk."""
        if self._compute is None:
            self._compute = _compute_api(self, arguments)
        return self._compute


def _compute_api(command, arguments):
    from nova_sched.operate.compute_api import ComputeApi

    manager = getattr(command.app, "client_manager", None)
    if manager is not None:
        # python-openstackclient logs in before a command that wants it; ours want it only for hosts of Nova.
        command.auth_required = True
        command.app.prepare_to_run_command(command)
        return ComputeApi(manager.session, manager.region_name, manager.interface)
    try:
        import openstack.config
        import openstack.exceptions
        from keystoneauth1 import exceptions
    except ImportError:
        raise errors.UsageError(WITHOUT_SDK.format(what="the host belongs to Nova")) from None
    try:
        region = openstack.config.OpenStackConfig().get_one(cloud=arguments.os_cloud)
        return ComputeApi(region.get_session(), region.region_name, region.get_interface("compute"))
    except (openstack.exceptions.SDKException, exceptions.ClientException, OSError) as fault:
        raise errors.UsageError(
            f"Nova's API must be asked, and its credentials are missing or wrong ({' '.join(str(fault).split())}); set "
            "OS_CLOUD and clouds.yaml, or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD and OS_PROJECT_NAME"
        ) from None
