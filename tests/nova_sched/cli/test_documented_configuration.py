"""The programs find their logs in the files that docs/operating/install.md writes."""

import re
import stat

import pytest
from oslo_config import cfg

from nova_sched.cli import command_config, status
from nova_sched.replay.health import upgrade
from tests.install import chapter

RUNBOOKS = sorted((chapter.ROOT / "docs" / "operating" / "runbooks").glob("*.md"))
#: What prints commands for an operator.
TEXTS = [
    *(chapter.ROOT / "docs" / "operating").rglob("*.md"),
    *(chapter.ROOT / "nova_sched" / "cli").glob("*.py"),
    *(chapter.ROOT / "etc" / "systemd").glob("*.service"),
]
PAGE_UNIT = chapter.ROOT / "etc" / "systemd" / "nova-sched-page.service"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The directory of the configuration, written as the chapter says."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return chapter.configure(tmp_path)


def account_of(url):
    """The account in the URL of a log."""
    return url.partition("://")[2].partition(":")[0]


def account_of_status(monkeypatch):
    """The account of cell0's log in what the upgrade check reads."""
    read = []
    monkeypatch.setattr(upgrade, "Deployment", lambda conf: read.append(conf.cells.cell0_log) or 1 / 0)
    assert status.main(["upgrade", "check"]) == status.UNEXPECTED
    return account_of(read[0] or "")


def test_the_upgrade_check_reads_the_files_of_the_operator(folder, monkeypatch):
    assert account_of_status(monkeypatch) == "operator"


def test_the_upgrade_check_may_have_a_file_of_its_own(folder, monkeypatch):
    text = (folder / "nova-sched.conf").read_text()
    (folder / "nova-sched-status.conf").write_text(text.replace("operator", "status"))
    assert account_of_status(monkeypatch) == "status"


def test_the_unit_of_the_page_names_files_that_it_may_read_with_all_logs(folder):
    command = re.search(r"(?m)^ExecStart=(.*)$", PAGE_UNIT.read_text())[1].replace(chapter.FOLDER, str(folder))
    paths = re.findall(r"--config-file (\S+)", command)
    logs = dict(log.split("=", 1) for log in command_config.logs(command_config.read(paths)))
    assert {cell: account_of(url) for cell, url in logs.items()} == {"cell0": "replay", "cell1": "replay"}
    assert all((folder / path).stat().st_mode & stat.S_IRGRP for path in paths[1:])


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_does_not_write_into_the_sample(page):
    """The values of the operator are in nova_sched.conf.d, and win over those of nova_sched.conf."""
    assert not re.search(r"`/etc/nova_sched/nova_sched\.conf`", page.read_text())


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_a_runbook_writes_snapshots_where_the_services_read_them(page):
    assert set(re.findall(r"--to (\S+)", page.read_text())) <= {"SNAPSHOTS"}


def test_an_upgrade_installs_what_the_installation_does():
    def installed(name):
        text = (chapter.ROOT / "docs" / "operating" / name).read_text()
        (line,) = re.findall(r"bin/pip install (.*)", text)
        return re.sub(r"/root/(nova_sched-new/)?", "", line)

    assert installed("upgrades.md") == installed("install.md")


def test_the_pages_name_the_versions_of_rabbitmq_that_the_upgrade_check_takes():
    pages = "\n".join(path.read_text() for path in (chapter.ROOT / "docs" / "operating").rglob("*.md"))
    first = set(re.findall(r"RabbitMQ \(?(\d\.\d+)(?: or later| to )", pages))
    assert first == {".".join(map(str, upgrade.FIRST_TRIED))}


def test_no_documented_command_leaves_out_the_file_of_its_program():
    """The URLs of the logs are in the file of the program, which is not read if another file is named alone."""
    option = "--config-file /etc/nova_sched/"
    lines = [(path.name, line) for path in TEXTS for line in path.read_text().splitlines() if "nova-sched" in line]
    alone = f"{option}nova_sched.conf"
    assert [found for found in lines if alone in found[1] and found[1].count(option) == 1] == []


def test_commands_find_the_logs_and_the_broker_of_rpc(folder):
    conf = command_config.read([])
    conf.register_opt(cfg.StrOpt("transport_url"))
    assert conf.transport_url.startswith("rabbit://nova:")
    assert {account_of(log.partition("=")[2]) for log in command_config.logs(conf)} == {"operator"}
    replay = command_config.logs(command_config.read([], "nova-sched-replay"))
    assert {account_of(log.partition("=")[2]) for log in replay} == {"replay"}
