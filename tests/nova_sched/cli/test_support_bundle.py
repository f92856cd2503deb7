"""``nova-sched support-bundle``: what is in it, what never is, and its limits."""

import json
import stat
import sys
import tarfile

import pytest

from nova_sched.cli.main import main
from nova_sched.operate.support import gather, machine
from nova_sched.operate.support.contents import Contents
from nova_sched.operate.support.masking import MASK, Options, Secrets
from nova_sched.replay.archive.log import open_archive
from tests.builders import claim, consumer, report, uuid_of
from tests.nova_sched.cli.operated import Cloud

#: Events of the tests have a time of their own.
RECORDS = ("--records", "1000")
DEAD = "rabbit://nova:planted-dead@127.0.0.1:1/?stream=nova_sched.cell1"


@pytest.fixture
def cloud(tmp_path, capsys):
    cloud = Cloud(tmp_path, capsys)
    cloud.say(report("host-1", consumer("vm-1")))
    return cloud


def configured(folder, urls, more=""):
    """A configuration file with these logs."""
    path = folder / "nova_sched.conf"
    path.write_text(
        f"[DEFAULT]\ntransport_url = rabbit://nova:planted-rpc@127.0.0.1:1/\nlog_dir = {folder}/logs\n"
        f"[cells]\nenabled = cell1\ncell0_log = {urls['cell0']}\n"
        f"[cell:cell1]\nlog = {urls['cell1']}\nuuid = {uuid_of('cell1')}\n{more}"
    )
    return path


class Bundle:
    """A bundle that was made: its exit code, its manifest, and its files (name -> bytes)."""

    def __init__(self, folder, capsys, config, *words):
        self.path = folder / "bundle.tar.gz"
        files = ["--config-file", str(config)] if config else []
        self.code = main(["support-bundle", *files, "-o", str(self.path), *RECORDS, *words])
        self.said = capsys.readouterr()
        self.files = {}
        with tarfile.open(self.path) as archive:
            for member in archive.getmembers():
                _, _, name = member.name.partition("/")
                self.files[name] = archive.extractfile(member).read()
        self.manifest = json.loads(self.files["manifest.json"])
        self.problems = {entry["name"]: entry["problem"] for entry in self.manifest["files"] if entry["problem"]}

    def text(self, name):
        """A file as text."""
        return self.files[name].decode()


def test_a_bundle_has_what_helps(cloud, tmp_path, capsys):
    bundle = Bundle(tmp_path, capsys, configured(tmp_path, cloud.urls))
    assert stat.S_IMODE(bundle.path.stat().st_mode) == 0o600
    assert "host-1" in bundle.text("commands/state.txt")
    assert "cell1" in bundle.text("commands/doctor.txt")
    assert json.loads(bundle.text("versions.json"))["distributions"]["numpy"]
    assert json.loads(bundle.text("system.json"))["cpus"] >= 1
    (tmp_path / "cell1.nslog").write_bytes(bundle.files["logs/cell1.nslog"])
    ((cell, log),) = open_archive(str(tmp_path / "cell1.nslog"))
    with log:
        assert cell == "cell1" and log.bounds().count
    listed = {entry["name"] for entry in bundle.manifest["files"] if entry["sha256"]}
    assert listed == set(bundle.files) - {"manifest.json"}
    assert set(bundle.problems) == {"services", "service-logs/journal.txt"} or set(bundle.problems) == {"services"}


PLANTED = """
# a comment with planted-comment
[keystone_authtoken]
auth_type = password
username = placement
password = planted-keystone
memcache_secret_key = planted-memcache
[neutron]
auth_type = password
password = planted-neutron
[snapshots]
url = redis://:planted-redis@127.0.0.1:1/0
[tap]
url = rabbit://tap:planted%2Ftap@a:1,tap:planted-second@b:1/cell1
[strange]
anything = planted-strange
api_password = planted-strange-too
[tracing]
endpoint = http://user:planted-endpoint@127.0.0.1:4318
"""


def test_no_secret_is_in_a_bundle(cloud, tmp_path, capsys, monkeypatch):
    cloud.say(claim("vm-2", "host-1")._replace(project_id="planted-project"))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "nova-sched-scheduler.log").write_text(
        "cannot log in as rabbit://nova:planted-unknown@broker:5672/\n"
        "the password planted-keystone is wrong\n"
        "'X-Auth-Token': 'planted-token'\n"
        "{'adminPass': 'planted-admin'}\nhost-1 is lost\n"
    )
    monkeypatch.setenv("OS_PASSWORD", "planted-variable")
    bundle = Bundle(tmp_path, capsys, configured(tmp_path, cloud.urls, PLANTED))
    assert {name for name, content in bundle.files.items() if b"planted" in content} == set()
    assert "planted" not in bundle.said.out + bundle.said.err
    assert "host-1 is lost" in bundle.text("service-logs/nova-sched-scheduler.log")
    shown = next(text for name, text in bundle.files.items() if name.endswith("nova_sched.conf")).decode()
    assert f"transport_url = rabbit://nova:{MASK}@127.0.0.1:1/" in shown and "username = placement" in shown
    assert "OS_PASSWORD" in bundle.text("config/environment.json")
    (tmp_path / "cell1.nslog").write_bytes(bundle.files["logs/cell1.nslog"])
    ((_, log),) = open_archive(str(tmp_path / "cell1.nslog"))
    with log, log.read_from(log.bounds().first) as reader:
        records = reader.read(1000, 1.0)
    assert len(records) > 3 and b"planted" not in b"".join(record.payload for record in records)


def test_a_dead_broker_is_no_reason_not_to_make_one(cloud, tmp_path, capsys):
    bundle = Bundle(tmp_path, capsys, configured(tmp_path, {**cloud.urls, "cell1": DEAD}))
    assert bundle.code == 1
    assert "cannot open the log" in bundle.text("commands/doctor.txt")
    assert "cannot open the log" in bundle.problems["logs/cell1.nslog"]
    assert "logs/cell0.nslog" in bundle.files and "logs/cell1.nslog" not in bundle.files
    assert b"planted" not in b"".join(bundle.files.values())
    assert "logs/cell1.nslog: " in bundle.said.err


def test_a_wrong_configuration_is_named(cloud, tmp_path, capsys):
    path = tmp_path / "wrong.conf"
    path.write_text("[cells\nplanted-line\n")
    bundle = Bundle(tmp_path, capsys, path)
    assert bundle.code == 1 and "cannot be read" in next(
        problem for name, problem in bundle.problems.items() if name.endswith("wrong.conf")
    )
    assert bundle.problems["logs"].startswith("no log is named") and "versions.json" in bundle.files
    assert b"planted" not in b"".join(bundle.files.values())


def test_a_bundle_has_a_size(cloud, tmp_path, capsys):
    bundle = Bundle(tmp_path, capsys, configured(tmp_path, cloud.urls), "--megabytes", "0.003")
    assert bundle.code == 1
    assert sum(len(content) for name, content in bundle.files.items() if name != "manifest.json") <= 3000
    assert "cut: it had" in bundle.problems["versions.json"]
    assert "raise --megabytes" in bundle.problems["logs/cell1.nslog"]


def test_a_bundle_has_an_end(cloud, tmp_path, capsys):
    bundle = Bundle(tmp_path, capsys, configured(tmp_path, cloud.urls), "--seconds", "0.001")
    assert bundle.problems["commands/doctor.txt"] == "no time is left; raise --seconds"
    assert bundle.problems["logs/cell1.nslog"] == "no time is left; raise --seconds"
    assert "versions.json" in bundle.files


def test_a_program_that_hangs_is_ended(tmp_path):
    code, text, fault = gather._run(
        [sys.executable, "-c", "import signal; print('begun', flush=True); signal.pause()"], 2.0, tmp_path
    )
    assert (code, fault) == (-9, "it did not end within 2 s, and was ended") and text in ("", "begun\n")


def test_the_last_records(cloud, tmp_path, capsys):
    cloud.say(*(report(f"more-{number}") for number in range(3)))
    bundle = Bundle(tmp_path, capsys, configured(tmp_path, cloud.urls), "--records", "1")
    (tmp_path / "cell1.nslog").write_bytes(bundle.files["logs/cell1.nslog"])
    ((_, log),) = open_archive(str(tmp_path / "cell1.nslog"))
    with log:
        assert log.bounds().count == 1


def test_the_logs_of_the_environment(cloud, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("NOVA_SCHED_LOG", f"cell0={cloud.urls['cell0']} {cloud.urls['cell1']}")
    assert {"logs/cell0.nslog", "logs/log-2.nslog"} <= set(Bundle(tmp_path, capsys, None).files)


def test_a_process_that_does_not_take_the_signal_is_left_alone():
    assert machine.ask_for_report({"pid": 1, "catches_usr2": False}) == "it does not take SIGUSR2 (yet)"
    assert machine._catches("0000000000000800", 12) and not machine._catches("0000000000000400", 12)


@pytest.mark.parametrize(
    "section, name, value, shown",
    [
        ("cells", "enabled", "cell1", "cell1"),
        ("cells", "cell0_log", "rabbit://a:planted@b/?stream=c", f"rabbit://a:{MASK}@b/?stream=c"),
        ("cell:cell1", "log", "rabbit://a:planted@b/?stream=c", f"rabbit://a:{MASK}@b/?stream=c"),
        ("cell:cell1", "password", "planted", f"{MASK} (nothing here knows this option)"),
        ("DEFAULT", "transport_url", "rabbit://a:pla/nted@b:1/", f"rabbit://a:{MASK}@b:1/"),
        ("DEFAULT", "debug", "true", "true"),
        ("oslo_messaging_rabbit", "ssl_key_file", "/etc/key.pem", "/etc/key.pem"),
        ("keystone_authtoken", "memcache_secret_key", "planted", MASK),
        ("snapshots", "url", "file:///var/lib", "file:///var/lib"),
        ("anything", "at_all", "planted", f"{MASK} (nothing here knows this option)"),
    ],
)
def test_what_is_shown_of_an_option(options, section, name, value, shown):
    secrets = Secrets()
    assert secrets.shown(options, section, name, value) == shown
    assert "planted" not in secrets.scrubbed("before planted after") or "planted" not in value


DIGEST = 'Digest username="planted", realm="a, b", response="planted"'


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Authorization: Basic planted=\nnext", f"Authorization: {MASK}\nnext"),
        ("Proxy-Authorization: Negotiate planted==\nnext", f"Proxy-Authorization: {MASK}\nnext"),
        (f"authorization: {DIGEST}\nnext", f"authorization: {MASK}\nnext"),
        ('Authorization: Digest response="planted', f"Authorization: {MASK}"),
        ("Authorization: Bearer planted", f"Authorization: {MASK}"),
        ('curl -H "Authorization: Basic planted=" -H "Accept: x"', f'curl -H "Authorization: {MASK}" -H "Accept: x"'),
        ("HTTP_AUTHORIZATION='Basic planted' next", f"HTTP_AUTHORIZATION='{MASK}' next"),
        ("'X-Auth-Token': b'planted', 'next': 1", f"'X-Auth-Token': b'{MASK}', 'next': 1"),
        (r'{"text": "{\"X-Auth-Token\": \"planted\"}"}', rf'{{"text": "{{\"X-Auth-Token\": \"{MASK}\"}}"}}'),
        ("X-Service-Token: planted next", f"X-Service-Token: {MASK} next"),
        ("Authorization:\nnext", "Authorization:\nnext"),
        ("Authorization failed: next", "Authorization failed: next"),
    ],
)
def test_credentials_of_any_scheme_are_masked(text, shown):
    assert Secrets().scrubbed(text) == shown


@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization"])
@pytest.mark.parametrize("value", ["Basic planted==", DIGEST, "Unheard-Of a=planted, b=planted"])
def test_credentials_are_masked_in_values_and_what_is_after_them_is_not(name, value):
    for headers in (
        {name: value, "next": 1},
        {name: [value], "next": 1},
        {name.encode(): value.encode(), "next": 1},
        [(name, value), ("next", 1)],
    ):
        found = Secrets().scrubbed(repr(headers))
        assert "planted" not in found and "next" in found
    for text in (json.dumps({name: value}), f"saw {name}: {value}", repr({name: value})):
        # (A file of JSON stays one.)
        for indent in (None, 2):
            found = json.loads(Secrets().scrubbed(json.dumps({"text": text, "next": 1}, indent=indent)))
            assert "planted" not in found["text"] and MASK in found["text"] and found["next"] == 1


def test_a_known_secret_is_masked_in_json(tmp_path):
    secrets = Secrets()
    secrets.add_passwords_of('rabbit://nova:Tr"ick\\y1@h1,b:pässwört@h2/')
    contents = Contents(tmp_path / "files", secrets, 10_000, 10.0)
    words = ['-p Tr"ick\\y1', "-p pässwört", repr({"x": 'Tr"ick\\y1'}), json.dumps("pässwört"), "next"]
    contents.json("processes.json", words)
    found = (tmp_path / "files" / "processes.json").read_text()
    assert "ick" not in found and "ssw" not in found
    assert json.loads(found) == [f"-p {MASK}", f"-p {MASK}", f"{{'x': '{MASK}'}}", f'"{MASK}"', "next"]


@pytest.mark.parametrize("secret", ["Pl@in/pass", "Pl%40in%2Fpass", "Pl%40in%2fpass"])
@pytest.mark.parametrize("form", ["Pl@in/pass", "Pl%40in%2Fpass", "Pl%40in%2fpass"])
def test_a_known_secret_is_masked_in_each_form_of_a_url(secret, form):
    secrets = Secrets()
    secrets.add(secret)
    assert secrets.scrubbed(f"it is {form} there") == f"it is {MASK} there"


@pytest.mark.parametrize(
    "secret", ['it\'s "both"', "tab\there", "back\\slash", "päss wört", "not text \udc80\ud800", "end\\"]
)
def test_a_known_secret_is_masked_in_each_text_of_a_value(secret):
    secrets = Secrets()
    secrets.add(secret)
    for text in (json.dumps([secret]), json.dumps([secret], ensure_ascii=False), repr([secret])):
        assert secrets.scrubbed(text)[2:-2] == MASK


def test_a_short_secret_is_not_masked():
    secrets = Secrets()
    secrets.add("ä/")
    assert secrets.scrubbed(r"b\u00e4/c") == r"b\u00e4/c"


@pytest.fixture(scope="module")
def options():
    return Options([])


@pytest.mark.parametrize(
    "words, said",
    [
        (["--seconds", "0"], "--seconds is '0', wanted a number above 0"),
        (["--records", "0"], "--records is 0, wanted 1 or more"),
        (["--since", "soon"], "--since"),
        (["-o", "/nowhere/at/all.tar.gz"], "is not a directory"),
        (["-o", ".", "--force"], ". is a directory; name a file in it"),
    ],
)
def test_wrong_usage(words, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["support-bundle", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_file_is_not_overwritten(cloud, tmp_path, capsys):
    (tmp_path / "bundle.tar.gz").write_text("mine")
    assert main(["support-bundle", "-o", str(tmp_path / "bundle.tar.gz")]) == 2
    assert (tmp_path / "bundle.tar.gz").read_text() == "mine"


def test_a_long_text_keeps_the_end_that_was_asked_for(tmp_path):
    contents = Contents(tmp_path / "files", Secrets(), 10, 1.0)
    contents.text("log", "begin 0123456789", keep_end=True)
    assert (tmp_path / "files" / "log").read_text() == "0123456789"
    assert contents.entries[0].problem == "cut: it had 16 bytes, of which 10 are here"
