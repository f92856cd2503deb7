"""What is wrong is one sentence, and a command that was interrupted is continued by the next one."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nova_sched.cli.main import main
from nova_sched.clients import service as services
from nova_sched.migration import log_writer
from nova_sched.migration.from_logs import placement_of
from rpc_api import events
from rpc_api.clock import SYSTEM
from rpc_api.levels import LEVEL
from rpc_api.log import open_log
from tests.builders import Voice, record_of
from tests.nova_sched.migration.clouds import conflict, small
from tests.nova_sched.migration.test_take_over import CHANGES, same
from tests.placement_api.regions import uuid_of

ROOT = Path(__file__).resolve().parents[3]
OVERLOADED = 503, {"errors": [{"status": 503, "title": "Service Unavailable", "detail": "the database is away"}]}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Repeat without a pause."""
    monkeypatch.setattr(services, "RETRY_DELAY", 0.001)


def refuse(stock, answer, method, path, times):
    """Answer some requests with an error, so many times, from the third one on."""
    seen = itertools.count()

    def before(request):
        if request.method == method and request.path.startswith(path) and 2 <= next(seen) < 2 + times:
            return answer
        return None

    stock.before = before


ENDLESS = 10**9
READS = [
    # (answer, times, exit code, the text)
    (OVERLOADED, 3, 0, ""),
    (OVERLOADED, ENDLESS, 3, "it answers 503: the database is away; see its log, and repeat the command"),
    ((500, b"<html>oops</html>"), ENDLESS, 3, "it answers 500: <html>oops</html>; see its log, and repeat the command"),
    ((200, b"<html>a portal</html>"), ENDLESS, 3, "its answer is not a JSON object; is this Placement?"),
    ((200, {"resources": 1}), ENDLESS, 3, "Placement answers in a form that is not known here (KeyError: "),
    (
        (403, {"errors": [{"detail": "not allowed"}]}),
        ENDLESS,
        3,
        "403: not allowed; use the account of an administrator",
    ),
]


@pytest.mark.parametrize("answer, times, wanted, told", READS)
def test_a_placement_that_fails_while_it_is_read(stock, ours, answer, times, wanted, told):
    small(stock)
    refuse(stock, answer, "GET", "/resource_providers/", times)
    code, _, err = ours.run("import")
    assert code == wanted and told in err and err.count("\n") == bool(told)
    assert wanted == 0 or not ours.state().trees


WRITES = [
    # (answer, path, times, exit code, the text)
    (OVERLOADED, "/allocations/", 3, 0, ""),
    (OVERLOADED, "/allocations/", ENDLESS, 3, "it answers 503: the database is away"),
    (conflict(), "/allocations/", 2, 0, ""),
    (conflict(), "/allocations/", ENDLESS, 1, "has no effect: Placement answers 409: another write came first"),
    (conflict(), "/resource_providers/", 3, 0, ""),
    (conflict(), "/resource_providers/", ENDLESS, 1, "has no effect: Placement answers 409: another write came first"),
    (
        conflict(detail="consumer generation conflict - expected 1"),
        "/allocations/",
        1,
        1,
        "Placement answers 409: consumer generation conflict - expected 1",
    ),
    (conflict("placement.undefined_code", "no room"), "/allocations/", ENDLESS, 1, "Placement answers 409: no room"),
]


@pytest.mark.parametrize("answer, path, times, wanted, told", WRITES)
def test_a_placement_that_fails_while_it_is_written(stock, target, ours, answer, path, times, wanted, told):
    """The next export writes what is left."""
    small(stock)
    assert ours.run("import")[0] == 0
    refuse(target, answer, "PUT", path, times)
    code, _, err = ours.run("export", stock=target)
    assert code == wanted and told in err
    target.before = lambda request: None
    assert ours.run("export", stock=target)[0] == 0
    assert ours.run("compare", stock=target)[:2] == (0, "")


ACCOUNTS = [
    # (variables that change, exit code, the text)
    ({"OS_TOKEN": "wrong"}, 3, "it answers 401: wrong token; check the account of the cloud (the variables OS_"),
    ({"OS_AUTH_TYPE": "palm"}, 2, "OS_AUTH_TYPE is 'palm', wanted a plugin of keystoneauth1"),
    ({"OS_AUTH_TYPE": ""}, 2, "the account of the cloud is not complete"),
    (
        {"OS_AUTH_TYPE": "password", "OS_AUTH_URL": "http://127.0.0.1:1/v3", "OS_USERNAME": "a", "OS_PASSWORD": "b"},
        3,
        "http://127.0.0.1:1/v3",
    ),
]


@pytest.mark.parametrize("variables, wanted, told", ACCOUNTS)
def test_accounts_that_are_wrong(ours, environment, variables, wanted, told):
    for name, value in variables.items():
        environment.setenv(name, value)
    code, out, err = ours.run("import")
    assert code == wanted and told in err and err.count("\n") == 1 and out == ""


def test_a_placement_that_is_not_there(ours, stock, capsys):
    code = main(["import", "--log", f"cell1={ours.urls['cell1']}", "--placement", "http://127.0.0.1:1"])
    err = capsys.readouterr().err
    assert code == 3 and err == (
        "nova-sched import: Placement at http://127.0.0.1:1 did not do GET /: Unable to establish connection to "
        "http://127.0.0.1:1/ (Connection refused); check its address, and whether it runs\n"
    )


def test_an_import_after_one_with_a_clock_that_was_ahead(ours, stock):
    small(stock)
    with open_log(ours.urls["cell1"]) as log:
        voice = Voice("operator/ada", epoch=SYSTEM.now_ns() + 3600 * 10**9)
        made = voice.say(events.ClassCreated("CUSTOM_BEFORE", "import", None))
        log.append([record_of(made, epoch=ours.state().epoch, level=LEVEL)])
    assert ours.run("import", "--name", "ada")[0] == 0


def test_our_own_placement_api_is_not_the_stock_one(ours, stock, environment, capsys):
    """Once its endpoint is in the catalog, it would be compared with itself."""
    environment.setenv("OS_ENDPOINT", stock.url)
    for command in ("import", "compare"):
        assert main([command, "--log", f"cell1={ours.urls['cell1']}", "--placement-only"]) == 2
        err = capsys.readouterr().err
        assert "the endpoint of Placement in the catalog is that of nova_sched" in err and "--placement" in err


def test_a_placement_that_is_too_old(ours, stock):
    stock.before = lambda request: (
        (200, {"versions": [{"id": "v1.0", "max_version": "1.17", "min_version": "1.0"}]})
        if request.path == "/"
        else None
    )
    code, _, err = ours.run("import")
    assert code == 3 and "Placement has microversions up to 1.17, wanted 1.28; upgrade it" in err
    code, _, err = ours.run("export")
    assert code == 3 and "wanted 1.28" in err


USAGE = [
    (("--threads", "0"), "--threads is 0, wanted 1 to 64"),
    (("--threads", "65"), "--threads is 65, wanted 1 to 64"),
    (("--rounds", "0"), "--rounds is 0, wanted 1 or more"),
    (("--cell-database", "mysql://x/y"), "--cell-database names no cell and URL"),
    (("--cell-database", "cell1=nonsense"), "--cell-database names no cell and URL"),
    (("--cell-database", "cell1=palm://x/y"), "the URL of the database cannot be used"),
]


@pytest.mark.parametrize("words, told", USAGE)
def test_wrong_usage(ours, words, told):
    code, _, err = ours.run("import", *words)
    assert code == 2 and told in err and err.count("\n") == 1


def test_a_log_that_does_not_take_it(ours, stock, tmp_path, capsys):
    small(stock)
    old = f"sqlite:///{tmp_path}/old.db"
    assert main(["create-log", "cell1", old, "--level", "2"]) == 0
    code = main(["import", "--log", f"cell1={old}", "--placement", stock.url, "--placement-only"])
    assert code == 2 and "is at level 2, wanted 3 or more; run nova-sched pin first" in capsys.readouterr().err
    words = ["--log", f"cell0={ours.urls['cell0']}", "--placement", stock.url, "--placement-only"]
    assert main(["import", *words]) == 2
    assert "no log of a cell is named, wanted that of each cell" in capsys.readouterr().err


# --- interruptions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [1, 2, 3, 5, 8])
def test_an_import_that_is_interrupted_is_continued(stock, ours, monkeypatch, batches):
    """After any event the rest is written by the next import, also of changes to what is there."""
    small(stock)
    monkeypatch.setattr(log_writer, "BATCH", 1)
    swapped, again = "two swap their names", "a provider is deleted and created under its name"
    for change in (None, "a consumer moves", swapped, again):
        if change is not None:
            CHANGES[change][0](stock.client)
        with monkeypatch.context() as interrupted:
            left = itertools.count(batches, -1)
            write = log_writer.LogWriter._write

            def stop(self, batch, left=left, write=write):
                if next(left) <= 0:
                    raise KeyboardInterrupt
                return write(self, batch)

            interrupted.setattr(log_writer.LogWriter, "_write", stop)
            try:
                ours.run("import")
            except KeyboardInterrupt:
                pass
        code, out, err = ours.run("import")
        assert code == 0, (out, err)
        assert same(stock, ours.state())


def test_an_export_that_is_killed_is_continued(stock, target, ours):
    """While consumers are written, inventories are wide; the next export gives them the right values."""
    small(stock)
    assert ours.run("import")[0] == 0
    reached, go_on = threading.Event(), threading.Event()

    def before(request):
        if request.method == "PUT" and request.path.startswith("/allocations/"):
            reached.set()
            go_on.wait(60)
        return None

    target.before = before
    command = "import sys; from nova_sched.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["export", "--log", f"cell1={ours.urls['cell1']}", "--placement", target.url, "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", command, *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        assert reached.wait(60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        go_on.set()
    target.before = lambda request: None
    code, out, _ = ours.run("compare", stock=target)
    assert code == 1 and f"provider {uuid_of('host-1')} (host-1): inventory CUSTOM_GOLD reserved: 0" in out
    assert ours.run("export", stock=target)[0] == 0
    assert ours.run("compare", stock=target)[:2] == (0, "")


# --- beside a cloud that goes on -------------------------------------------------------------------------------------


def test_what_changes_while_it_is_read_is_found_by_the_next_round(stock, ours):
    """A consumer comes when its provider was read; an inventory changes between two requests; a provider goes."""
    small(stock)
    stock.client.do("POST", "/resource_providers", {"name": "goes", "uuid": uuid_of("goes")})
    first = [
        (
            f"/allocations/{uuid_of('vm-1')}",
            lambda: stock.client.put(uuid_of("late"), None, {uuid_of("host-1"): {"VCPU": 1}}),
        ),
        (f"/resource_providers/{uuid_of('numa-2')}/traits", lambda: CHANGES["an inventory changes"][0](stock.client)),
        (
            f"/resource_providers/{uuid_of('goes')}/allocations",
            lambda: stock.client.do("DELETE", f"/resource_providers/{uuid_of('goes')}"),
        ),
    ]

    def before(request):
        for one in [one for one in first if one[0] == request.path]:
            first.remove(one)
            one[1]()

    stock.before = before
    code, out, err = ours.run("import")
    assert (code, err, first) == (0, "", []), (out, err)
    assert "round 2: " in out and same(stock, ours.state())


def test_a_cloud_that_never_stands_still_is_named(stock, ours):
    small(stock)
    numbers = itertools.count()

    def before(request):
        if request.path == "/resource_classes":
            stock.client.do("PUT", f"/traits/CUSTOM_{next(numbers)}")

    stock.before = before
    code, out, err = ours.run("import", "--rounds", "2")
    assert code == 1 and out.count("round ") == 2
    assert err == "trait CUSTOM_2: exists: True in the cloud, nothing in the logs\n"
    stock.before = lambda request: None
    assert ours.run("import")[0] == 0
    assert placement_of({"cell1": stock.projection}) == placement_of({"cell1": ours.state()})
