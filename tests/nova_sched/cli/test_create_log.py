"""``nova-sched create-log``: names that no service accepts."""

import pytest

from nova_sched.cli.main import main


@pytest.mark.parametrize("name", ["", "cell one", "zellé", "-", "a/b", "a=b"])
def test_a_name_that_no_service_accepts_makes_no_log(tmp_path, capsys, name):
    assert main(["create-log", "--wait", "0", "--", name, f"sqlite:///{tmp_path}/log.db"]) == 2
    out, err = capsys.readouterr()
    assert not out and f"{name!r} cannot be the name of a cell" in err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["cell0", "cell1", "Zone-B_2.x"])
def test_a_name_that_services_accept(tmp_path, capsys, name):
    assert main(["create-log", name, f"sqlite:///{tmp_path}/log.db"]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: ")
