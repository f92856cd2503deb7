"""stack.sh, unstack.sh and clean.sh of a checkout of devstack, in a sandbox in which no command of the host runs."""

import configparser
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.devstack.cloud import CELL_UUIDS, HERE, PLUGIN

#: Where there is a checkout of devstack.
VARIABLE = "NOVA_SCHED_DEVSTACK"
#: Paths in devstack's files, and where they are in the sandbox.
MOVED = {
    "/etc/": "etc/",
    "/var/run/": "run/",
    "/var/lib/": "var-lib/",
    "/var/log/": "var-log/",
    "/usr/local/": "usr-local/",
    "/opt/stack": "stack",
}
#: Programs that change nothing but files that are named to them. All others are recorded instead.
HARMLESS = """
    awk gawk mawk base64 basename bash cat chmod comm cp cut date dirname echo egrep env expr false find fold grep head
    id install ln ls mkdir mkfifo mktemp mv nl nproc paste printf readlink realpath rm rmdir sed seq sh sha256sum sleep
    sort stat tac tail tee test timeout touch tr true uname uniq wc which xargs yes hostname getent getopt
    openssl od whoami
""".split()
RECORDED = """
    sudo systemctl rabbitmqctl virtualenv python3 python git nova-manage openstack curl mysql mysqladmin dpkg
    dpkg-query apt-get apt-cache dnf a2query a2enmod a2ensite a2dissite a2disconf a2enconf uuidgen ip lsb_release
    pidof killall pgrep iscsi-iname iscsiadm nvme virsh iptables ip6tables sysctl modprobe mount umount
    systemd-tmpfiles debconf-set-selections uwsgi pip pip3 wget tar ps df ping netstat ss lsmod service
    update-ca-certificates cinder-manage glance-manage keystone-manage placement-manage nova-status nova-sched
    losetup vgs pvs lvs vgremove update-alternatives mountpoint dstat generate-subunit subunit-1to2 usermod groupadd
    getfacl setfacl ufw lsof crudini edit-constraints chown kill add-apt-repository udevadm bindep tox journalctl
    blkid loginctl sg memcached free sync bridge cinder-rtstool
    ovs-vsctl
""".split()
#: Commands that an environment of Python gets.
COMMANDS = """
    nova-manage nova-status nova-sched keystone-manage glance-manage placement-manage pip openstack edit-constraints
    bindep uwsgi osc-placement
""".split()
REQUIREMENTS = """
    PyMySQL psycopg2 python-openstackclient osc-placement python-barbicanclient libvirt-python os-testr tox bashate
    python-memcached pymemcache etcd3gw ldappool python-ldap cryptography
    keystonemiddleware glance-store psutil libvirt-python
""".split()
LOCALRC = """\
ADMIN_PASSWORD=adminsecret
DATABASE_PASSWORD=dbsecret
RABBIT_PASSWORD=rabbitsecret
SERVICE_PASSWORD=servicesecret
HOST_IP=192.0.2.10
VIRT_DRIVER=fake
LOGFILE=
IMAGE_URLS=
SKIP_PATH_SANITY=True
DOWNLOAD_DEFAULT_IMAGES=False
"""
CONTROLLER = "rabbit,mysql,key,g-api,n-api,n-api-meta,n-cpu,n-cond,n-sch,placement-api"
OS_RELEASE = 'ID=ubuntu\nNAME=Ubuntu\nVERSION_ID="24.04"\nVERSION="24.04 (Noble)"\n'


class RealCloud:
    """A host with devstack, and this plugin enabled in its local.conf.

    ``localrc`` is shell text, ``sections`` the rest of local.conf.
    """

    def __init__(self, directory: Path, localrc: str = "", services: str = CONTROLLER, sections: str = ""):
        self.dir = directory
        self.devstack = directory / "devstack"
        for name in ("bin", "enabled", "running", "home", "stack/nova_sched", "stack/requirements", "usr-local/bin"):
            (directory / name).mkdir(parents=True)
        for name in (
            "etc/apt/apt.conf.d",
            "etc/apache2/sites-available",
            "etc/iscsi",
            "etc/systemd/system",
            "etc/mysql",
        ):
            (directory / name).mkdir(parents=True)
        for name in ("etc/sudoers.d", "etc/bash_completion.d", "etc/rsyslog.d", "run", "var-lib", "var-log", "tmp"):
            (directory / name).mkdir(parents=True)
        (directory / "etc/os-release").write_text(OS_RELEASE)
        (directory / "etc/hosts").write_text("127.0.0.1 localhost\n")
        for name in ("etc/gitconfig", "etc/fstab"):
            (directory / name).touch()
        (directory / "stack/requirements/upper-constraints.txt").touch()
        (directory / "stack/requirements/global-requirements.txt").write_text(
            "".join(f"{name}>=1\n" for name in REQUIREMENTS)
        )
        (directory / "calls").touch()
        (directory / "commands").write_text("\n".join(COMMANDS))
        self._copy_devstack(Path(os.environ[VARIABLE]))
        self._programs()
        self.write_local_conf(localrc, services, sections)
        (directory / "cells").write_text("".join(f"{name} {uuid}\n" for name, uuid in CELL_UUIDS.items()))
        (directory / "broker.json").write_text(json.dumps({"running": True, "vhosts": {"/": empty_vhost()}}))

    def _copy_devstack(self, source: Path) -> None:
        shutil.copytree(source, self.devstack, ignore=shutil.ignore_patterns(".git", "doc"))
        shutil.copytree(PLUGIN, self.dir / "stack/nova_sched/devstack")
        for path in [*self.devstack.rglob("*"), *(self.dir / "stack/nova_sched").rglob("*")]:
            if path.is_file() and not path.is_symlink():
                try:
                    text = path.read_text()
                except UnicodeDecodeError:
                    continue
                moved = self._moved(text)
                if moved != text:
                    path.write_text(moved)

    def _moved(self, text: str) -> str:
        """A file of devstack, with the paths of a host in the sandbox."""
        # Root may run it here. A trace would be most of the time.
        text = text.replace("$EUID -eq 0", "0 -eq 1").replace("\nset -o xtrace\n", "\n:\n")
        text = text.replace(":/usr/sbin:/sbin", "").replace("en_US.utf8", "C.UTF-8")
        text = text.replace("/bin/systemctl", f"{self.dir}/bin/systemctl")
        for old, new in MOVED.items():
            # Not inside of a longer path, such as $NOVA_DIR/etc/nova.
            for before in " \"'=(:`\n,-":
                text = text.replace(f"{before}{old}", f"{before}{self.dir}/{new}")
        return text

    def _programs(self) -> None:
        for name in HARMLESS:
            found = shutil.which(name)
            if found:
                (self.dir / "bin" / name).symlink_to(found)
        recorder = self.dir / "recorder.sh"
        shutil.copy(HERE / "recorder.sh", recorder)
        recorder.chmod(0o755)
        for name in [*RECORDED, f"python3.{sys.version_info.minor}"]:
            path = self.dir / "bin" / name
            if not path.is_symlink():
                path.symlink_to(recorder)
        # It keeps its state beside the directory that it is in.
        shutil.copy(HERE / "bin/rabbitmqctl", self.dir / "stack/rabbitmqctl")
        (self.dir / "broker").write_text(
            f'#!/bin/bash\nexec "{sys.executable}" -IS "{self.dir}/stack/rabbitmqctl" "$@"\n'
        )
        (self.dir / "broker").chmod(0o755)

    def write_local_conf(self, localrc: str, services: str = CONTROLLER, sections: str = "") -> None:
        text = f"[[local|localrc]]\n{LOCALRC}ENABLED_SERVICES={services}\n{localrc}\n"
        text += f"enable_plugin nova_sched https://example.org/nova_sched\n\n{sections}\n"
        (self.devstack / "local.conf").write_text(text)

    def run(self, script: str) -> int:
        """Run ``stack``, ``unstack`` or ``clean``; the calls of what ran before are forgotten."""
        (self.dir / "calls").write_text("")
        environment = {
            "PATH": f"{self.dir}/bin",
            "HOME": f"{self.dir}/home",
            "USER": "stack",
            "TERM": "dumb",
            "TMPDIR": f"{self.dir}/tmp",
            "SANDBOX": str(self.dir),
            "REAL_PYTHON": sys.executable,
            "SERVICE_TIMEOUT": "10",
            "BASH_ENV": f"{self.dir}/unknown.sh",
        }
        # What is neither harmless nor recorded is noted, so that the lists above stay whole.
        (self.dir / "unknown.sh").write_text(
            'function command_not_found_handle { echo "$*" >> "$SANDBOX/unknown"; return 0; }\n'
            "export -f command_not_found_handle\n"
        )
        with open(self.dir / f"{script}.out", "w") as out:
            process = subprocess.Popen(
                ["bash", str(self.devstack / f"{script}.sh")],
                stdout=out,
                stderr=out,
                cwd=self.devstack,
                env=environment,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                return process.wait(timeout=900)
            finally:
                # A stack.sh that fails leaves what it does in the background.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def calls(self, *starts: str) -> list[str]:
        """The recorded calls that begin with one of these."""
        lines = (self.dir / "calls").read_text(errors="replace").splitlines()
        return [line.replace(str(self.dir), "") for line in lines if line.startswith(starts)]

    def running(self) -> set[str]:
        """devstack's services that run."""
        return {path.name.removeprefix("devstack@") for path in (self.dir / "running").glob("devstack@*")}

    def unit(self, service: str) -> Path:
        return self.dir / f"etc/systemd/system/devstack@{service}.service"

    def exec_start(self, service: str) -> str:
        (line,) = [line for line in self.unit(service).read_text().splitlines() if line.startswith("ExecStart")]
        return line.partition("= ")[2].replace(str(self.dir), "")

    def conf(self, path: str) -> dict[str, dict[str, str]]:
        """A configuration file below /etc."""
        parser = configparser.ConfigParser(default_section="", interpolation=None, strict=True)
        parser.read_string((self.dir / "etc" / path).read_text())
        return {name: dict(parser[name]) for name in parser.sections()}

    def broker(self) -> dict:
        return json.loads((self.dir / "broker.json").read_text())


def empty_vhost() -> dict:
    return {"queues": [], "exchanges": ["", "amq.topic"], "policies": {}}
