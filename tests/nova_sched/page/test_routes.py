"""What each route answers, to good questions and to bad ones."""

import gzip
import json

import pytest

from nova_sched.cli.main import replay
from nova_sched.page import assets
from nova_sched.page.answers import POLICY
from nova_sched.page.app import Application
from nova_sched.page.routes import ROUTES
from nova_sched.page.server import own_hosts
from tests.nova_sched.page.pages import DEMO, OWN, Served, options_of

REFUSED = "be1747a2-5362-56ca-a2e5-189d60c8f760"
HOST = "host-62"


@pytest.fixture(scope="module")
def page():
    with Served.of_names(DEMO, requests_per_second=1e6, request_burst=10**6) as found:
        yield found


# --- the same answers as the commands ---------------------------------------------------------------------------------


def printed(capsys, *words):
    """What a command of the replay tool prints as JSON."""
    replay([*words, "--log", DEMO, "--no-cache", "-o", "json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("key", [REFUSED, REFUSED[:12], f"req-{REFUSED}", "14f5af34-be2c-5b69-8cea-3a39ec40cbfc"])
def test_the_page_explains_as_the_command_does(page, capsys, key):
    assert page.get("explain", key=key) == {"decisions": printed(capsys, "explain", key), "history": []}


def test_an_earlier_attempt_is_explained_as_by_the_command(page, capsys):
    found = page.get("explain", key=REFUSED, attempt="1")["decisions"]
    assert found == printed(capsys, "explain", REFUSED, "--attempt", "1")
    assert found[0]["attempt"] == 1


@pytest.mark.parametrize("host", [HOST, "host-0"])
def test_the_page_says_why_not_as_the_command_does(page, capsys, host):
    assert page.get("why-not", key=REFUSED, host=host) == printed(capsys, "why-not", REFUSED, host)


@pytest.mark.parametrize("at", [None, "cell1:100", "2026-11-29T12:10:30.7Z"])
def test_hosts_are_as_the_command_shows_them(page, capsys, at):
    words = [] if at is None else ["--at", at]
    rows = {row["host"]: row for row in printed(capsys, "state", *words)}
    names, use = page.get("hosts")["names"], page.get("use", **({} if at is None else {"at": at}))
    for number, name in enumerate(names):
        row = rows[name]
        assert use["status"][number] == 0 and row["status"] == "up"
        assert use["instances"][number] == row["instances"]
        for known in use["used"]:
            found = {"used": use["used"][known][number], "capacity": use["capacity"][known][number]}
            assert found == (row[known] or {"used": 0, "capacity": 0})
    assert set(names) == set(rows)


def test_one_host_is_as_the_command_shows_it(page, capsys):
    whole, found = printed(capsys, "state", HOST), page.get("host", name=HOST)
    for name in ("status", "zone", "aggregates", "providers", "instances", "digest", "authority"):
        assert found[name] == whole[name], name
    assert found["events"]


@pytest.mark.parametrize("at", ["cell1:1", "cell1:100", "cell1:112", "cell1:200", "2026-11-29T12:10:30.9Z"])
def test_one_host_of_the_past_is_as_the_command_shows_it(page, capsys, at):
    whole, found = printed(capsys, "state", HOST, "--at", at), page.get("host", name=HOST, at=at)
    assert found["status"] == whole["status"] and found["cell"] == whole["cell"]
    for instance, expected in zip(found["instances"], whole["instances"], strict=True):
        assert instance == {name: expected[name] for name in instance}
    sums = {}
    for provider in whole["providers"]:
        for one in provider["inventories"]:
            sum_ = sums.setdefault(one["resource_class"], {"used": 0, "capacity": 0})
            sum_["used"] += one["used"]
            sum_["capacity"] += one["capacity"]
    assert found["amounts"] == sums
    assert all(event["time"] <= found["moment"]["time"] for event in found["events"])


@pytest.mark.parametrize("at", ["cell1:100", "last"])
def test_instances_of_the_past_are_as_the_command_lists_them(page, capsys, at):
    rows = {(row["instance"], row["host"]): row["state"] for row in printed(capsys, "instances", "--at", at)}
    found = page.get("instances", at=at)
    assert found["count"] == len(rows)
    assert {(row["instance"], row["host"]): row["state"] for row in found["instances"]}.items() <= rows.items()


# --- what else there is -----------------------------------------------------------------------------------------------


def test_news_and_what_has_happened(page):
    first = page.get("news")
    assert first["is_ready"] and first["progress"] == 1 and not first["faults"] and first["waited"]
    again = page.get("news", after=str(first["last"]), version=str(first["version"]))
    assert again["happenings"] == [] and not again["waited"] and not again["skipped"]
    late = page.get("news", after="1", version="1")
    assert late["skipped"] and len(late["happenings"]) == 200
    assert [one["number"] for one in late["happenings"]] == sorted(one["number"] for one in late["happenings"])
    kinds = {one["kind"] for one in page.get("happenings", most="200")["happenings"]}
    assert {"chosen", "claim refused", "build failed"} <= kinds
    early = page.get("happenings", at="2026-11-29T12:10:30.7Z")["happenings"]
    assert early and max(one["time"] for one in early) <= "2026-11-29T12:10:30.700Z"


@pytest.mark.parametrize(
    "text, first, may_be_id",
    [
        ("host-6", ["host-6", "host-60"], False),
        ("ost-99", ["host-99"], False),
        ("host-119", ["host-119"], False),
        (REFUSED, [], True),
        (REFUSED[:8], [], True),
        ("nothing", [], False),
        ("<script>alert(1)</script>", [], True),
    ],
)
def test_search(page, text, first, may_be_id):
    found = page.get("search", q=text)
    assert found["hosts"][: len(first)] == first and bool(found["hosts"]) == bool(first)
    assert found["may_be_id"] is may_be_id


def nested(depth):
    """A list in a list, and so on."""
    found = []
    for _ in range(depth):
        found = [found]
    return found


BAD = [
    ("/api/host", {"name": "nothing"}, 404, "there is no host 'nothing' at that moment"),
    ("/api/host", {}, 400, "name is missing; name it"),
    ("/api/host", {"name": "x" * 1000}, 400, "name has 1000 characters, wanted 512 at most"),
    ("/api/use", {"at": "sometime"}, 400, "'sometime' is not a moment, wanted a position"),
    ("/api/use", {"at": "x" * 100}, 400, "a moment has 64 characters at most"),
    *(
        (path, {"name": HOST, "at": at}, 400, f"the moment {at!r} is not a time from 1970 to 2262; name another one")
        for path in ("/api/use", "/api/host", "/api/instances", "/api/happenings")
        for at in (
            "-800000d",
            "@-99999999999999d",
            "@-99999999999999999d",
            f"-{'9' * 60}w",
            "@999999999999",
            "1969-12-31T23:59:59Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
        )
    ),
    ("/api/use", {"at": "cell9:1"}, 404, "there is no log of 'cell9' among cell0, cell1"),
    ("/api/host", {"name": HOST, "at": "cell1:0"}, 404, "there is no host 'host-62' at that moment"),
    ("/api/explain", {"key": "abc"}, 400, "'abc' names no request, wanted a request id"),
    ("/api/explain", {"key": "be1747a2-0000"}, 404, "no decision for be1747a2-0000 is in cell0, cell1"),
    (
        "/api/explain",
        {"key": "\x00\x01 damaged \ud800".encode("utf-8", "replace").decode()},
        400,
        "an id has 1 to 255 printable",
    ),
    ("/api/explain", {"key": "k" * 500}, 400, "an id has 1 to 255 printable characters"),
    ("/api/explain", {"key": REFUSED, "attempt": "7"}, 404, "there is no attempt 7, wanted one of 1, 2"),
    ("/api/explain", {"key": REFUSED, "attempt": "-1"}, 400, "attempt is '-1', wanted a whole number from 1"),
    ("/api/why-not", {"key": REFUSED}, 400, "host is missing; name it"),
    ("/api/why-not", {"key": REFUSED, "host": "host-nothing"}, 404, "the scheduler knew no host 'host-nothing'"),
    ("/api/why-not", {"key": REFUSED, "host": HOST, "instance": "x"}, 404, "the request has no instance 'x'"),
    ("/api/news", {"after": "many"}, 400, "after is 'many', wanted a whole number"),
    ("/api/news", {"after": "9" * 400}, 400, "after is '9999"),
    ("/api/happenings", {"most": "100000"}, 400, "most is '100000', wanted a whole number from 1 to 200"),
    ("/api/nothing", {}, 404, "the page has no path '/api/nothing'; begin at /"),
    ("/static/../app.py", {}, 404, "the page has no file"),
    ("/static/", {}, 404, "the page has no file"),
]


@pytest.mark.parametrize("path, parameters, code, text", BAD)
def test_a_bad_question_gets_a_sentence(page, path, parameters, code, text):
    answered = page.ask(path, **parameters)
    assert answered.code == code and text in answered.json["error"], answered
    assert "Traceback" not in answered.body.decode() and "\n" not in answered.json["error"]


@pytest.mark.parametrize(
    "query, code",
    [("key=%ff%fe%00", 400), ("q=%ff", 400), ("name=a&name=b", 400), ("&&&=;%", 400), ("at=" + "1" * 5000, 400)],
)
@pytest.mark.parametrize("path", ["/api/explain", "/api/host"])
def test_a_damaged_query(page, path, query, code):
    assert page.ask(path, headers={"QUERY_STRING": query}).code == code


@pytest.mark.parametrize(
    "method, path, body, headers, code",
    [
        ("PUT", "/api/hosts", b"", {}, 405),
        ("DELETE", "/", b"", {}, 405),
        ("POST", "/api/what-if", b"", OWN, 400),
        ("POST", "/api/what-if", b"[]", OWN, 400),
        ("POST", "/api/what-if", b"[" * 60_000, OWN, 400),
        ("POST", "/api/what-if", b"\xff\xfe", OWN, 400),
        ("POST", "/api/what-if", b"x" * 70_000, OWN, 413),
        ("POST", "/api/what-if", b"", {**OWN, "CONTENT_LENGTH": "9" * 30}, 413),
        ("POST", "/api/what-if", b"", {**OWN, "CONTENT_LENGTH": "-1"}, 400),
        ("POST", "/api/login", b"{}", OWN, 403),
    ],
)
def test_a_bad_request(page, method, path, body, headers, code):
    answered = page.ask(path, method, body, headers)
    assert answered.code == code and answered.json["error"]


@pytest.mark.parametrize("at", ["@0", "1970-01-01", "@9223372036.854775807", "2262-04-11"])
def test_the_first_and_the_last_moment(page, at):
    for path in ("/api/use", "/api/instances", "/api/happenings"):
        assert page.ask(path, at=at).code == 200, path


@pytest.mark.parametrize(
    "origin", ["http://[bad", "http://[::1", "http://]", "http://[v.]/", "//[", "null", "", "http://else:8790"]
)
@pytest.mark.parametrize("path", ["/api/what-if", "/api/what-if/stop", "/api/login", "/api/logout"])
def test_an_origin_that_is_not_that_of_the_page(page, path, origin):
    answered = page.ask(path, "POST", b"{}", {**OWN, "HTTP_ORIGIN": origin})
    assert answered.code == 403 and answered.json["error"].startswith("the request was not sent by this page itself")


@pytest.mark.parametrize(
    "sides, text",
    [
        ([], "sides is not a list of 1 to 2 objects"),
        ([{}, {}, {}], "sides is not a list of 1 to 2 objects"),
        ([{"policy": {}}], "a side is an object with weighers"),
        ([{"weighers": {"NothingWeigher": 1}}], "there is no weigher 'NothingWeigher', wanted one of"),
        ([{"weighers": {"RAMWeigher": "1"}}], "weighers has a wrong value for 'RAMWeigher'"),
        ([{"weighers": {"RAMWeigher": 10**400}}], "the multiplier of RAMWeigher is 1000"),
        ([{"ratios": {"VCPU": 0}}], "the allocation ratio is '0', wanted a number above 0"),
        ([{"added": {"host-1": 10**6}}], "1000000 hosts like host-1 must be added"),
        ([{"dropped": [1]}], "dropped is not a list of 50 names at most"),
        ([{"options": {str(number): 1 for number in range(60)}}], "options is not an object with 50 names at most"),
        ([{"options": {"nothing": 1}}], "a policy has no option 'nothing', wanted one of aggregate_image"),
        ([{"options": {"enabled_filters": ["Nothing"]}}], "there is no filter 'Nothing', wanted one of"),
        *(
            (
                [{}, {"options": {"host_subset_size": 2, name: value}}],
                f"the option {name} of a policy has a wrong value",
            )
            for name, value in (
                ("enabled_filters", [[]]),
                ("enabled_filters", [{}]),
                ("enabled_filters", None),
                ("enabled_filters", nested(300)),
                ("max_attempts", "1"),
                ("max_attempts", 10**60),
                ("metrics_weight_of_unavailable", 10**400),
                ("metrics_weight_of_unavailable", float("nan")),
                ("default_availability_zone", "\ud800"),
                ("weighers", [[[], 1]]),
                ("weighers", [["RAMWeigher", 10**400]]),
                ("weighers", 1),
            )
        ),
    ],
)
def test_a_what_if_that_is_wrong(page, sides, text):
    answered = page.post("what-if", {"sides": sides})
    assert answered.code == 400 and text in answered.json["error"]
    assert page.page.what_ifs.job.state == "none"


def test_a_fault_of_the_page_itself_has_no_traceback(page, monkeypatch, caplog):
    monkeypatch.setattr(page.page.cloud.happenings, "after", lambda *_: 1 / 0)
    answered = page.ask("/api/news")
    assert answered.code == 500 and answered.json == {"error": "the page has failed to answer; its log has the reason"}
    assert "ZeroDivisionError" in caplog.text


# --- files, headers, hosts --------------------------------------------------------------------------------------------


def test_every_answer_has_the_headers_of_a_safe_page(page):
    for path in (
        "/",
        "/static/app.js",
        "/api/use",
        "/api/nothing",
        *(route.path for route in ROUTES if route.method == "GET"),
    ):
        headers = page.ask(path).headers
        assert headers["Content-Security-Policy"] == POLICY
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == ("no-cache" if not path.startswith("/api") else "no-store")


def test_the_files_name_nothing_beyond_the_page_itself():
    files = assets.load()
    assert {"index.html", "app.js", "page.css", "icon.svg"} <= files.keys()
    for name, found in files.items():
        text = found.body.decode()
        assert "//" not in text.replace("http://www.w3.org/", "") or name.endswith(".js"), name
        for word in ("<script>", 'onclick="', 'style="', "innerHTML", "eval(", "document.write", "https://"):
            assert word not in text, (name, word)


def test_a_file_that_the_browser_has_is_not_sent_again(page):
    first = page.ask("/static/app.js")
    again = page.ask("/static/app.js", headers={"HTTP_IF_NONE_MATCH": first.headers["ETag"]})
    assert again.code == 304 and again.body == b""


def test_large_answers_are_compressed(page):
    plain, small = page.ask("/api/use"), page.ask("/api/use", headers={"HTTP_ACCEPT_ENCODING": "gzip, br"})
    assert small.headers["Content-Encoding"] == "gzip" and len(small.body) < len(plain.body) / 3
    assert gzip.decompress(small.body) == plain.body
    assert page.ask("/api/use", "HEAD").body == b""


def test_without_a_login_the_page_answers_only_under_its_own_names():
    with Served.of_names(DEMO) as page:
        page.application.use_hosts(own_hosts(page.page.options, False, [("127.0.0.1", 8790)]))
        assert isinstance(page.application, Application)
        for host, code in (
            ("127.0.0.1:8790", 200),
            ("localhost:8790", 200),
            ("LOCALHOST:8790", 200),
            ("[::1]:8790", 200),
            ("evil.example:8790", 403),
            ("127.0.0.1:8791", 403),
            ("", 403),
        ):
            assert page.ask("/api/hosts", headers={"HTTP_HOST": host}).code == code, host


@pytest.mark.parametrize(
    "values, has_login, expected",
    [
        ({}, True, []),
        ({"allowed_hosts": ["page.example"]}, True, ["page.example"]),
        ({"allowed_hosts": ["page.example"]}, False, ["page.example"]),
    ],
)
def test_the_names_that_count(values, has_login, expected):
    assert own_hosts(options_of(**values).page, has_login, [("192.0.2.5", 8790)]) == expected
