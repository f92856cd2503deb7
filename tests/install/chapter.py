"""The chapter about the installation, as a reader follows it: its commands, section by section."""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.install.tree import ROOT

PAGE = ROOT / "docs" / "operating" / "install.md"
#: The sections of which a reader chooses one.
WAYS = {"venv": "In a virtualenv", "deb": "As a Debian package"}
#: Sections whose commands need the network of the machine: they install packages.
WITH_NETWORK = ("Packages", *WAYS.values())


class Block(NamedTuple):
    """Some commands: the heading of their section, and their lines as printed."""

    section: str
    text: str


def blocks(text: str) -> list[Block]:
    """The blocks of commands of a page, in order. A block that is no command (a table, an output) is fenced as text."""
    found, section = [], ""
    for part in re.findall(r"^#+ .*?$|^```bash\n.*?^```$", text, re.MULTILINE | re.DOTALL):
        if part.startswith("#"):
            section = part.lstrip("# ")
        else:
            found.append(Block(section, part.removeprefix("```bash\n").removesuffix("```")))
    return found


def of_way(way: str) -> list[Block]:
    """The blocks of a reader who installs nova_sched in one of the :data:`WAYS`."""
    others = {section for name, section in WAYS.items() if name != way}
    return [block for block in blocks(PAGE.read_text()) if block.section not in others]


#: Where the chapter writes the configuration.
FOLDER = "/etc/nova_sched"


def configure(home: Path) -> Path:
    """Type the chapter's commands that write the configuration, for a user with the home directory ``home``; return the
    directory of the files. Nothing is given to another user."""
    folder = home / ".nova_sched"
    (folder / "nova_sched.conf.d").mkdir(parents=True)
    (folder / "nova_sched.conf").touch()
    typed = "".join(block.text for block in blocks(PAGE.read_text()) if block.section == "Configuration")
    accounts = "rpc operator replay scheduler placement conductor compute_agent keystone"
    script = f"""set -e
install() {{ :; }}; chown() {{ :; }}; chgrp() {{ :; }}
umask 027
for account in {accounts}; do declare "$account=secret"; done
{typed.replace(FOLDER, str(folder))}"""
    subprocess.run(["bash", "-c", script], check=True, timeout=60)
    return folder
