"""The plugin of python-openstackclient: ``openstack scheduler ...``.

python-openstackclient imports this module for each of its commands, so it imports nothing of ours.
"""

import argparse
import sys

API_NAME = "scheduler"
API_VERSION_OPTION = "os_scheduler_api_version"
DEFAULT_API_VERSION = "1"
API_VERSIONS = ("1",)


def make_client(instance):
    """The client of the plugin is a session: there is no service to talk to, the commands read the logs themselves."""
    return instance.session


def build_option_parser(parser):
    """Add the option that python-openstackclient expects of each plugin, and the guard of ``--log``."""
    parser.add_argument("--log", action=_LogGuard, dest="log_file", help=argparse.SUPPRESS)
    parser.add_argument(
        "--os-scheduler-api-version",
        metavar="<scheduler-api-version>",
        default=DEFAULT_API_VERSION,
        help=f"version of the commands of nova_sched, default={DEFAULT_API_VERSION}",
    )
    return parser


class _LogGuard(argparse.Action):
    """``--log`` is an abbreviation of ``--log-file`` of python-openstackclient: an operator who types it for a log of
    ours, as in nova-sched, would have the output of ``openstack`` written into that log."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Take the file, except for a command of this plugin."""
        if API_NAME in sys.argv[1:]:
            parser.error("--log would write the log of openstack itself; name the logs with --scheduler-log CELL=URL")
        setattr(namespace, self.dest, values)


def check_api_version(version: str) -> bool:
    """Whether the commands have a version; CommandError for another one."""
    if version not in API_VERSIONS:
        from osc_lib import exceptions

        raise exceptions.CommandError(
            f"the commands of nova_sched have version {', '.join(API_VERSIONS)}, got {version}; upgrade nova_sched "
            "here, or leave out --os-scheduler-api-version"
        )
    return True
