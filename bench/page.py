"""The page with many hosts: how long the server takes to answer, and a real Chromium to show them.

``python -m bench page [--hosts N] [--events N] [--log FILE] [--no-browser] [--screenshots DIR]``

The browser needs chromium, chromium-driver and the package selenium; without them the figures of the server are shown.
"""

import argparse
import contextlib
import gzip
import json
import math
import random
import statistics
import tempfile
import time
import urllib.request
from pathlib import Path

from oslo_config import cfg

from bench.cloud import EPOCH, UP, reported, uuid_of
from bench.state_at import fill
from nova_sched.page import config
from nova_sched.page.app import Page
from nova_sched.page.server import RunningPage
from nova_sched.page.what_if import WhatIfs
from nova_sched.process.tuning import prepare_memory
from nova_sched.replay.logs.source import Source
from nova_sched.replay.state.history import SnapshotCache
from nova_sched.selection.catalogue import BUILT_IN
from rpc_api import codec, events
from rpc_api.log import open_log

SEED = 7
LOOKS = 15
PICTURED_NS = 1_795_954_232 * 10**9


def options():
    """The options of the page, with room for the flood of requests that follows."""
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in (("requests_per_second", 1e6), ("request_burst", 10**6), ("changes", 2_000_000)):
        conf.set_override(name, value, "page")
    return conf.page


class Asking:
    """Asks a page; ``spent`` is what the process that serves took of the last request, in seconds of processor time."""

    def __init__(self, url):
        self._url = url
        self.spent = 0.0

    def __call__(self, path):
        """Return (seconds, bytes that were sent, plain values)."""
        request = urllib.request.Request(f"{self._url}api/{path}", headers={"Accept-Encoding": "gzip"})
        began, cpu = time.perf_counter(), time.process_time()
        with urllib.request.urlopen(request, timeout=120) as answer:
            body = answer.read()
        took, self.spent = time.perf_counter() - began, time.process_time() - cpu
        plain = gzip.decompress(body) if answer.headers.get("Content-Encoding") == "gzip" else body
        return took, len(body), json.loads(plain)


def medians(ask, paths):
    """Median milliseconds, processor milliseconds and kB of some requests."""
    took, spent, size = [], [], []
    for path in paths:
        seconds, sent, _ = ask(path)
        took.append(seconds * 1e3)
        spent.append(ask.spent * 1e3)
        size.append(sent / 1e3)
    return {
        "median_ms": round(statistics.median(took), 1),
        "worst_ms": round(max(took), 1),
        "cpu_ms": round(statistics.median(spent), 1),
        "kb": round(statistics.median(size)),
    }


def of_server(running, page) -> dict:
    """The figures of the server."""
    ask, rng = Asking(running.urls[0]), random.Random(SEED)
    news = ask("news")[2]
    first, last = int(news["first_ns"]), int(news["last_ns"])

    def moment():
        at_ns = rng.randint(first, last)
        return f"@{at_ns // 10**9}.{at_ns % 10**9:09}"

    names = page.cloud.shown.topology.names
    found = {
        "hosts": medians(ask, ["hosts"]),
        "use now": medians(ask, ["use"]),
        "use now, again": medians(ask, ["use"] * LOOKS),
        "use at a moment": medians(ask, [f"use?at={moment()}" for _ in range(LOOKS)]),
        "a host now": medians(ask, [f"host?name={rng.choice(names)}" for _ in range(LOOKS)]),
        "search": medians(ask, [f"search?q=host-{rng.randint(1, 99)}" for _ in range(LOOKS)]),
        "news": medians(ask, ["news"] * LOOKS),
    }
    found["a host at a moment"] = medians(ask, [f"host?name={rng.choice(names)}&at={moment()}" for _ in range(LOOKS)])
    return found


#: Does something, and answers after the next frames: milliseconds.
FRAMES = """
const [what, done] = arguments, began = performance.now();
(new Function(what))();
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
"""
#: The same, and waits until the use of the hosts was loaded again and drawn.
LOADED = """
const [what, done] = arguments, began = performance.now();
(new Function(what))();
const look = () => {
  const found = performance.getEntriesByName("use").at(-1);
  if (found && found.startTime >= began - 20) requestAnimationFrame(() => done(performance.now() - began));
  else requestAnimationFrame(look);
};
look();
"""
KEY = "document.getElementById('map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
MOVE = (
    "const m = document.getElementById('map'), b = m.getBoundingClientRect(); m.dispatchEvent(new PointerEvent("
    "'pointermove', {clientX: b.left + 20 + 600 * Math.random(), clientY: b.top + 40 + 200 * Math.random()}))"
)
CHOOSE = (
    "const s = document.getElementById('by-class'); s.selectedIndex = (s.selectedIndex + 1) % s.options.length;"
    "s.dispatchEvent(new Event('input', {bubbles: true}))"
)
NAME = (
    "const s = document.getElementById('by-name'); s.value = s.value ? '' : '7';"
    "s.dispatchEvent(new Event('input', {bubbles: true}))"
)
SLIDE = (
    "const s = document.getElementById('time-slider'); s.value = Math.floor(1000 * Math.random());"
    "s.dispatchEvent(new Event('input'))"
)


def of_browser(url, hosts, screenshots) -> dict:
    """The figures of a browser: median and worst milliseconds."""
    from tests.browser import Browser

    with Browser() as browser:
        first = []
        for _ in range(3):
            browser.open("about:blank")
            browser.open(url)
            browser.wait(
                lambda: browser.run("return document.getElementById('map')?.dataset.drawn") == str(hosts), "the map"
            )
            first.append(browser.run("return performance.getEntriesByName('first map')[0].duration"))
        found = {"from the address to the map": _ms(first)}
        browser.driver.set_script_timeout(120)
        for what, script, action in (
            ("a key on the map", FRAMES, KEY),
            ("the mouse on the map", FRAMES, MOVE),
            ("another resource class", FRAMES, CHOOSE),
            ("a part of a name", FRAMES, NAME),
            ("the slider", LOADED, SLIDE),
        ):
            took = [browser.driver.execute_async_script(script, action) for _ in range(LOOKS)]
            found[what] = _ms(took)
        if screenshots:
            pictures(browser, Path(screenshots))
    return found


def _ms(values):
    return {"median_ms": round(statistics.median(values)), "worst_ms": round(max(values))}


#: Cells of the picture, with their hosts.
PICTURED = {"cell1": 4000, "cell2": 3500, "cell3": 2500}


def pictured(log, cell, hosts, rng) -> None:
    """Write a cell whose racks are full to different degrees, with hosts that are disabled or lost, and decisions."""
    from tests.builders import Voice, decision

    voices, sequence = {}, []

    def say(name, data):
        voice = voices.setdefault(name, Voice(name))
        sequence.append(voice.say(data)._replace(at_ns=PICTURED_NS + len(sequence) * 10**6))

    say("conductor/one", events.LogOpened(cell, EPOCH))
    for number in range(hosts):
        name, rack = f"{cell}-{number:04}", number // 40
        full = min(1.0, max(0.0, rng.gauss(0.25 + 0.7 * abs(math.sin(rack * 0.7)), 0.18)))
        consumers = []
        for part in range(int(full * 12)):
            uuid = uuid_of(f"{name}/{part}")
            allocations = (
                events.Allocation(uuid_of(name), "MEMORY_MB", 20_000),
                events.Allocation(uuid_of(name), "VCPU", 21),
            )
            consumers.append(events.Consumer(uuid, "project", allocations, None))
        status = UP._replace(disabled=rng.random() < 0.008)
        say(f"compute_agent/{name}", reported(name, status, tuple(consumers)))
    for number in rng.sample(range(hosts), hosts // 150):
        say("conductor/one", events.HostLost(f"{cell}-{number:04}", "silent"))
    for number in range(12):
        chosen = () if number % 4 == 3 else (f"{cell}-{rng.randrange(hosts):04}",)
        say("scheduler/one", decision(f"{cell}/{number}", *chosen, cell=cell))
    log.append([codec.encode_record(EPOCH, sequence[at : at + 100]) for at in range(0, len(sequence), 100)])


def pictures(browser, directory):
    """Write the pictures of the documentation."""
    from tests.nova_sched.page import projects
    from tests.nova_sched.page.pages import DEMO, Served
    from tests.placement_api.keystone import Keystone

    with tempfile.TemporaryDirectory() as folder:
        rng = random.Random(SEED)
        for cell, hosts in PICTURED.items():
            with open_log(f"sqlite:///{folder}/{cell}.db") as log:
                pictured(log, cell, hosts, rng)
        with shown(Served.of_names(*(f"{cell}=sqlite:///{folder}/{cell}.db" for cell in PICTURED)).page) as url:
            browser.size(1280, 800)
            browser.open(f"{url}#/hosts")
            total = str(sum(PICTURED.values()))
            browser.wait(lambda: browser.run("return document.getElementById('map').dataset.drawn") == total, "the map")
            browser.run("document.getElementById('map').focus()")
            browser.press("HOME", *["ARROW_DOWN"] * 12, *["ARROW_RIGHT"] * 9)
            browser.wait_text("#tip", "VCPU")
            _picture(browser, directory / "page-map.png")
            browser.open("about:blank")
    # The explanation is that of the log of the documentation, and the login that of a page with a Keystone.
    with shown(Served.of_names(DEMO).page) as url:
        browser.prefer(True)
        browser.size(1200, 1120)
        browser.open(f"{url}#/why/be1747a2-5362-56ca-a2e5-189d60c8f760")
        browser.type("#why-answer form input", "host-62", "ENTER")
        browser.wait_text("#why-answer", "last taken by instance")
        browser.run("document.activeElement.blur(); scrollTo(0, 0)")
        _picture(browser, directory / "page-why.png")
        browser.open("about:blank")
    keystone = Keystone(projects.TOKENS, projects.USERS)
    with shown(projects.served(keystone).page) as url:
        browser.prefer(False)
        browser.size(760, 560)
        browser.open(url)
        browser.one("#login [name=password]")
        _picture(browser, directory / "page-login.png")
        browser.open("about:blank")
    keystone.close()


def _picture(browser, path):
    """Write a picture with fewer colours: a fifth of the bytes."""
    from PIL import Image

    browser.picture(path)
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)


@contextlib.contextmanager
def shown(page):
    """The address of a page that answers."""
    running = RunningPage(page, "127.0.0.1", 0).start()
    try:
        yield running.urls[0]
    finally:
        running.stop()


def main(argv=None):
    """Print lines for people and one of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--log", metavar="FILE", help="a log of SQLite of an earlier run, or where to keep it")
    parser.add_argument("--no-browser", action="store_true", help="only the figures of the server")
    parser.add_argument("--screenshots", metavar="DIR", help="write pictures of the page into this directory")
    arguments = parser.parse_args(argv)
    prepare_memory()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(arguments.log or f"{directory}/log.db").resolve()
        fresh = not path.exists()
        with open_log(f"sqlite:///{path}") as log:
            if fresh:
                fill(log, arguments.hosts, arguments.events)
        name = f"cell1=sqlite:///{path}"
        with Source([name]) as source:
            made = options()
            cache = SnapshotCache(Path(directory) / "cache")
            page = Page(source, made, BUILT_IN, WhatIfs([name], [], 10**6, 600), None, cache)
            running = RunningPage(page, "127.0.0.1", 0)
            began, cpu = time.perf_counter(), time.process_time()
            running.start()
            while not page.cloud.shown.is_ready:
                page.cloud.happenings.wait(10**9, page.cloud.happenings.rounds, 1)
            figures = {
                "ready_s": round(time.perf_counter() - began, 1),
                "ready_cpu_s": round(time.process_time() - cpu, 1),
                "server": of_server(running, page),
            }
            print(f"ready after {figures['ready_s']} s ({figures['ready_cpu_s']} s of processor time)")
            for what, found in figures["server"].items():
                print(f"  {what}: {found}")
            if not arguments.no_browser:
                try:
                    figures["browser"] = of_browser(running.urls[0], arguments.hosts, arguments.screenshots)
                    for what, found in figures["browser"].items():
                        print(f"  in the browser, {what}: {found}")
                except (ImportError, FileNotFoundError) as fault:
                    print(f"no browser: {fault}")
            running.stop()
    print(json.dumps({"benchmark": "page", "hosts": arguments.hosts, "events": arguments.events, **figures}))


if __name__ == "__main__":
    main()
