"""The option with the name of a process: each service has one, in its own section."""

import socket

from oslo_config import cfg


def own_name(help: str, option: str = "name") -> cfg.StrOpt:
    """The option, whose default is the name of the host; ``help`` says where the name is used."""
    return cfg.StrOpt(option, default=socket.gethostname(), sample_default="<the host's name>", help=help)
