"""The filters and weighers that a command decides with."""

from nova_sched.selection.catalogue import BUILT_IN


def add_config_file(parser) -> None:
    """Add ``--config-file``, for what decides by filters and weighers that are not built in."""
    parser.add_argument("--config-file", action="append", default=[], metavar="FILE", dest="config_files",
                        help="configuration of the schedulers; needed where it names filters or weighers that "
                             "are not built in")


def catalogue(arguments):
    """The filters and weighers of the command's configuration: the built-in ones, where it names no file."""
    if not arguments.config_files:
        return BUILT_IN
    from oslo_config import cfg

    from nova_sched.service import config
    from nova_sched.service.process import parse
    conf = cfg.ConfigOpts()
    config.register(conf)
    parse(conf, "nova-sched", [f"--config-file={path}" for path in arguments.config_files])
    return config.catalogue_of(conf)[0]
