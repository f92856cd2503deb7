"""The page in a real Chromium: with the mouse and the keyboard, light and dark, as it happens, and with a login."""

import os
from contextlib import contextmanager

import pytest

from nova_sched.page.answers import TooMany
from nova_sched.page.server import RunningPage
from rpc_api import events
from rpc_api.clock import Clock
from tests.builders import decision, report, uuid_of
from tests.nova_sched.page.pages import DEMO, LogsOf, Served
from tests.nova_sched.page.projects import MINE, TOKENS, USERS, served
from tests.nova_sched.replay.logs import Written
from tests.placement_api.keystone import Keystone

REFUSED = "be1747a2-5362-56ca-a2e5-189d60c8f760"
HOUR_NS = 3600 * 10**9
#: Contrast of text, as WCAG AA wants it.
CONTRAST = 4.5
#: Lowest contrast of all visible texts on their backgrounds, with the text.
LOWEST_CONTRAST = """
const channel = (value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const colour = (text) => (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
let lowest = [99, ""];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility({checkOpacity: true}) || element.disabled) continue;
  let back = element, found = [0, 0, 0, 0];
  const behind = (one) => colour(getComputedStyle(one).backgroundColor);
  while (back && (found = behind(back)).length === 4 && found[3] === 0) back = back.parentElement;
  const one = light(colour(getComputedStyle(element).color)), two = light(found);
  const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
  if (ratio < lowest[0]) lowest = [ratio, element.textContent.trim().slice(0, 40)];
}
return lowest;
"""
#: Elements that a keyboard reaches and that have no name for a screen reader.
WITHOUT_A_NAME = """
return [...document.querySelectorAll("a[href], button, input, select, textarea, [tabindex='0']")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.getAttribute("aria-labelledby")
    || (one.labels && [...one.labels].some((label) => label.textContent.trim()))))
  .map((one) => one.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def browser():
    """A browser; the tests are skipped where none is installed, and fail in CI."""
    try:
        from tests.browser import Browser

        found = Browser()
    except (ImportError, FileNotFoundError) as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))
    with found:
        yield found


@contextmanager
def running(page):
    """The address of a page that answers over the network."""
    server = RunningPage(page.page, "127.0.0.1", 0).start()
    try:
        yield server.urls[0]
    finally:
        assert server.stop(20)


@pytest.fixture(scope="module")
def demo():
    """The address of a page over the log of the documentation."""
    with running(Served.of_names(DEMO, requests_per_second=1000.0, request_burst=1000)) as url:
        yield url


@pytest.fixture
def tab(browser):
    """The browser, whose console must be empty in the end."""
    browser.open("about:blank")
    browser.driver.delete_all_cookies()
    browser.prefer(False)
    browser.errors()
    yield browser
    assert browser.errors() == []


@pytest.fixture
def page(tab, demo):
    """The page, with its map drawn."""
    tab.open(demo)
    tab.run("localStorage.clear()")
    tab.open("about:blank")
    tab.open(demo)
    tab.wait(lambda: tab.run("return document.getElementById('map').dataset.drawn") == "120", "the map")
    return tab


def drawn(tab):
    """How many hosts the map shows."""
    return tab.run("return Number(document.getElementById('map').dataset.drawn)")


def pixels(tab):
    """The picture of the map, as a text."""
    return tab.run("return document.getElementById('map').toDataURL()")


def choose(tab, selector, value):
    """Choose a value of a list."""
    tab.run(
        "const s = document.querySelector(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('input', {bubbles: true}))",
        selector,
        value,
    )


# --- the map ---------------------------------------------------------------------------------------------------------


def test_the_map_its_filters_and_its_table(page):
    assert page.text("#totals").startswith("120 hosts, all up; VCPU 56 %")
    vcpus = pixels(page)
    choose(page, "#by-class", "MEMORY_MB")
    page.wait_text("#totals", "MEMORY_MB")
    page.wait(lambda: pixels(page) != vcpus, "other colours")
    page.type("#by-name", "host-11")
    page.wait(lambda: drawn(page) == 11, "the hosts of that name")
    page.click("#as-table")
    assert len(page.run("return [...document.querySelectorAll('#table tbody tr')].map(r => r.textContent)")) == 11
    assert "host-110" in page.text("#table") and "1 to 11 of 11" in page.text("#page-where")
    page.type("#by-name", "no such host")
    page.wait_text("#page-where", "no host")


def test_a_click_opens_a_host_and_its_instances_lead_to_why(page):
    page.run(
        "const c = document.getElementById('map'), b = c.getBoundingClientRect();"
        "c.dispatchEvent(new MouseEvent('click', {clientX: b.left + 20, clientY: b.top + 40, bubbles: true}))"
    )
    page.wait_text("#host-head", "host-0")
    assert "VCPU" in page.text("#host .fill") and "InstanceStarted" in page.text("#host")
    page.click("#host ul.low a")
    page.wait_text("#why-answer .answer-line", "chosen")
    page.run("history.back()")
    page.wait_text("#host-head", "host-0")
    page.click("#host-close")
    page.wait(lambda: not page.run("return document.getElementById('host')"), "the end of the panel")


def test_the_keyboard_alone_finds_and_opens_a_host(page):
    seen = []
    page.run("document.body.focus()")
    for _ in range(30):
        page.press("TAB")
        seen.append(page.focused)
        if page.focused == "map":
            break
    assert seen[0] == "a" and {"search-text", "theme", "by-class", "by-name", "as-table", "zoom-in", "map"} <= set(seen)
    assert page.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press("HOME", "ARROW_RIGHT", "ARROW_RIGHT", "ARROW_DOWN", "ARROW_LEFT")
    tip = page.text("#tip")
    assert tip.startswith("host-") and "VCPU" in tip and "instances, up" in tip
    page.wait_text("#map-said", tip.split("\n")[0])
    page.press("END")
    page.wait_text("#tip", "host-119")
    page.press("ENTER")
    page.wait_text("#host-head", "host-119")
    page.wait(lambda: page.focused == "host-head", "the focus on the host")


def test_keys_that_are_held_do_not_flood_a_screen_reader(page):
    page.run(
        "window.said = 0; const counted = {childList: true, characterData: true, subtree: true};"
        "new MutationObserver(() => window.said++).observe(document.getElementById('map-said'), counted);"
        "document.getElementById('map').focus()"
    )
    page.press(*["ARROW_RIGHT"] * 40)
    page.wait_text("#map-said", "host-40")
    assert page.run("return window.said") < 10


# --- search, why, why not --------------------------------------------------------------------------------------------


def test_the_search_finds_hosts_and_requests(page):
    page.type("#search-text", "host-6")
    page.wait_text("#search-found", "host-69")
    page.press("ARROW_DOWN", "ENTER")
    page.wait_text("#host-head", "host-60")
    page.type("#search-text", REFUSED, "ENTER")
    page.wait_text(
        "#why-answer .answer-line", "0/120 hosts: 53 MEMORY_MB, 52 affinity, 15 MEMORY_MB+VCPU on 2 providers"
    )
    answer = page.text("#why-answer")
    for part in (
        "the group's own host host-62 was refused for MEMORY_MB (ResourceFilter)",
        "host-62, claim refused: MEMORY_MB",
        "the scheduler did not know of 1 record of cell1",
        "no-valid-host",
    ):
        assert part in answer


def test_why_not_names_the_cause_and_its_position_shows_the_cloud_there(page, demo):
    page.open(f"{demo}#/why/{REFUSED}")
    page.type("#why-answer form input", "host-62", "ENTER")
    page.wait_text("#why-answer", "last taken by instance 7e77a860-235f-5e44-8811-65c3aacb50e6")
    assert "host-62: refused for MEMORY_MB (ResourceFilter)" in page.text("#why-answer")
    position = "[...document.querySelectorAll('#why-answer button')].find(b => b.textContent.startsWith('cell1 114'))"
    page.run(f"{position}.click()")
    page.wait_text("#state", "looking at the past")
    page.wait(
        lambda: page.run("return document.getElementById('time-text').value").startswith("2026-11-29T12:10:30.7"),
        "the time",
    )
    page.click("#time-now")
    page.wait_text("#state", "live")


@pytest.mark.parametrize("text", ["<img src=x onerror=alert(1)>", "%00%ff", "zzzzzzzz", "x" * 255])
def test_a_damaged_id_gets_a_sentence(page, text):
    page.type("#search-text", text, "ENTER")
    page.wait(
        lambda: page.run(
            "return !!document.querySelector('#why-answer .error, #search-found:not([hidden]), #host .error')"
        ),
        "an answer",
    )
    assert not page.run("return !!document.querySelector('img')")
    # (A 404 of the search is on the console, as the browser writes it there.)
    assert all("Failed to load resource" in error for error in page.errors())


# --- the past --------------------------------------------------------------------------------------------------------


def test_the_slider_shows_the_past(page):
    # The mouse is where it will be in the end: on the map it would mark a host.
    page.click("#time-now")
    page.wait(
        lambda: not page.run("return document.getElementById('tip').checkVisibility()"), "no host under the mouse"
    )
    page.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    now, colours = page.text("#totals"), pixels(page)
    page.run(
        "const s = document.getElementById('time-slider'); s.value = 650;"
        "s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change'))"
    )
    page.wait(lambda: page.text("#totals") != now and pixels(page) != colours, "other numbers")
    past = page.text("#totals")
    page.wait_text("#state", "looking at the past")
    page.run("document.getElementById('time-slider').focus()")
    page.press("HOME")
    page.wait(lambda: page.text("#totals") not in (now, past), "the beginning")
    page.click("#time-now")
    page.wait(lambda: page.text("#totals") == now and pixels(page) == colours, "the present again")


def test_a_moment_can_be_typed(page):
    page.type("#time-text", "cell1:100", "ENTER")
    page.wait_text("#state", "looking at the past")
    page.wait(lambda: "568 instances" not in page.text("#totals"), "fewer instances")
    page.type("#time-text", "some day", "ENTER")
    page.wait_text("#time-error", "'some day' is not a moment")
    assert all("Failed to load resource" in error for error in page.errors())


# --- light and dark, and for everyone --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("view", ["/hosts", "/host/host-62", "/decisions", "/instances", f"/why/{REFUSED}", "/what-if"])
def test_each_view_is_readable_and_has_names(page, demo, view, is_dark):
    page.prefer(is_dark)
    page.open(f"{demo}#{view}")
    page.wait(
        lambda: page.run("return document.documentElement.dataset.theme") == ("dark" if is_dark else "light"),
        "the theme",
    )
    page.wait(
        lambda: page.run(
            "return [...document.querySelectorAll('main section')].filter(s => s.checkVisibility()).length"
        ),
        "a view",
    )
    if "why" in view:
        page.wait_text("#why-answer", "Refused hosts")
    lowest, text = page.run(LOWEST_CONTRAST)
    assert lowest >= CONTRAST, text
    assert page.run(WITHOUT_A_NAME) == []
    assert page.run("return document.documentElement.scrollWidth <= innerWidth"), "wider than the window"


def test_a_chosen_theme_stays(page, demo):
    light = pixels(page)
    page.click("#theme")
    assert page.run("return document.documentElement.dataset.theme") == "dark"
    page.wait(lambda: pixels(page) != light, "dark colours")
    page.open("about:blank")
    page.open(demo)
    assert page.run("return document.documentElement.dataset.theme") == "dark"


# --- what if ---------------------------------------------------------------------------------------------------------


def test_a_what_if_from_the_form(page, demo):
    page.open(f"{demo}#/what-if")
    page.type("[data-side=A][data-name=RAMWeigher]", "1")
    page.type("[data-side=B][data-kind=dropped]", "host-1*")
    page.type("[data-side=B][data-kind=options]", "{")
    page.click("#what-if-start")
    page.wait_text("#what-if-state", "B: the other options are not valid JSON.")
    page.type("[data-side=B][data-kind=options]", '{"host_subset_size": 2}')
    page.click("#what-if-start")
    page.wait(lambda: page.text("#what-if-state") == "Done.", "the end", 280)
    answer = page.text("#what-if-answer")
    assert "instances asked 600 600 600 600" in answer and "hosts used 107" in answer
    assert "VCPUs in use at the end 5,252 (55.8 %) 5,340 (56.7 %)" in answer
    assert "VCPU capacity at the end 9,416 9,416 9,416 " in answer
    assert len(page.run("return [...document.querySelectorAll('#what-if-answer figure')]")) == 2


# --- as it happens ---------------------------------------------------------------------------------------------------


def test_what_happens_is_shown_as_it_happens_and_lists_are_bounded(tab):
    written = Written(*(report(f"host-{number}") for number in range(8)))
    with running(Served(LogsOf(cell1=written.log), requests_per_second=1000.0, request_burst=1000)) as url:
        tab.open(f"{url}#/decisions")
        tab.wait_text("#decisions", "what")
        written.say(decision("vm-first", "host-1"))
        tab.wait_text("#decisions tbody", "host-1")
        written.say(events.HostLost("host-2", "silent"))
        tab.wait_text("#decisions tbody", "lost: unreachable")
        # What is in the logs is shown as text.
        written.say(events.BuildFailed(uuid_of("vm-first"), "req-1", "host-1", 1, "<img src=x onerror=alert(1)>", True))
        tab.wait_text("#decisions tbody", "<img src=x onerror=alert(1)>")
        assert not tab.run("return !!document.querySelector('img')")
        for number in range(40):
            written.say(*(decision(f"vm-{number}-{part}", f"host-{part % 8}", attempt=0) for part in range(10)))
        tab.wait(lambda: tab.run("return document.querySelectorAll('#decisions tbody tr').length") == 200, "200 rows")
        tab.wait_text("#decision-state", "since the page was opened")
        tab.open(f"{url}#/hosts")
        tab.wait_text("#totals", "8 hosts, 1 lost")
        assert tab.run("return document.querySelectorAll('#beside-list li').length") == 25
        tab.open("about:blank")


def test_a_server_that_goes_away_is_reported_and_found_again(tab):
    page = Served.of_names(DEMO, requests_per_second=1000.0, request_burst=1000)
    with running(page) as url:
        tab.open(url)
        tab.wait_text("#state", "live")
        page.page.requests.take, take = refuse, page.page.requests.take
        page.page.cloud.happenings.published()
        tab.wait_text("#state", "there are too many requests from this address")
        page.page.requests.take = take
        tab.wait_text("#state", "live")
    tab.wait_text("#state", "not connected")
    assert all("Failed to load resource" in error for error in tab.errors())


def refuse(client, text):
    """Refuse a request, as a limit does."""
    raise TooMany(text, 1)


# --- login -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def keystone():
    found = Keystone(TOKENS, USERS)
    yield found
    found.close()


class LateClock(Clock):
    """The clock of the machine, with a wall clock that a test moves on."""

    later_ns = 0

    def now_ns(self):
        return super().now_ns() + self.later_ns


def log_in(tab, user, password, project=""):
    """Fill in the form."""
    tab.type("#login [name=user]", user)
    tab.type("#login [name=project]", project)
    tab.type("#login [name=password]", password, "ENTER")


def test_login_a_project_sees_its_own_and_the_end_of_the_session_shows_the_form(tab, keystone):
    clock = LateClock()
    page = served(keystone, clock=clock, requests_per_second=1000.0, request_burst=1000)
    with running(page) as url:
        tab.open(url)
        assert tab.run("return document.querySelector('#login [name=domain]').value") == "Default"
        log_in(tab, "alice", "wrong", MINE)
        tab.wait_text("#login-error", "Keystone does not know this name, password or project")
        log_in(tab, "alice", "secret-a", MINE)
        tab.wait_text("#decisions tbody", "no valid host was found")
        tab.wait_text("#who", "alice in mine")
        for secret in ("secret-host", "cell-secret", "foreign"):
            assert secret not in tab.run("return document.body.textContent")
        assert tab.run(
            "return [...document.querySelectorAll('nav a')].filter(a => a.checkVisibility()).map(a => a.textContent)"
        ) == ["Decisions", "Instances", "Why"]
        tab.open(f"{url}#/hosts")
        tab.wait_text("#decisions-head", "Decisions and refusals")
        # The token ends: the next request shows the form, and nothing of the session is left.
        clock.later_ns = 3 * HOUR_NS
        page.page.cloud.happenings.published()
        tab.wait(lambda: tab.run("return document.getElementById('view-login').checkVisibility()"), "the form")
        assert "no valid host" not in tab.run("return document.body.textContent")
    errors = [error for error in tab.errors() if "401" not in error and "ERR_CONNECTION_REFUSED" not in error]
    assert errors == []


def test_an_administrator_logs_in_and_out(tab, keystone):
    with running(served(keystone, requests_per_second=1000.0, request_burst=1000)) as url:
        tab.open(url)
        log_in(tab, "boss", "secret-c", "admins")
        tab.wait_text("#totals", "3 hosts, 1 lost")
        tab.click("#logout")
        tab.wait(lambda: tab.run("return document.getElementById('view-login').checkVisibility()"), "the form")
        assert "token-boss" in keystone.revoked
    assert [error for error in tab.errors() if "401" not in error and "ERR_CONNECTION_REFUSED" not in error] == []
