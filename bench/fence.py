"""What a fence of a RabbitMQ stream costs, and what the bounds cost: quiet, after a pause, shared by 16 callers, and
while another handle appends.

``python -m bench.fence [--url rabbit://user:password@host:port/vhost]``
"""

import argparse
import json
import statistics
import threading
import time
from contextlib import ExitStack

from bench.call import open_broker
from rpc_api.log import open_log

#: Seconds of the measurement with 16 callers, and pause after which a fence begins with a new consumer.
SHARED_SECONDS, PAUSE = 3.0, 0.7


def median_ms(function, count):
    """The median of some calls, in ms."""
    took = []
    for _ in range(count):
        began = time.monotonic()
        function()
        took.append(time.monotonic() - began)
    return round(statistics.median(took) * 1e3, 2)


def after_a_pause(function):
    """Call a function after a pause; return the seconds that it took."""
    time.sleep(PAUSE)
    began = time.monotonic()
    function()
    return time.monotonic() - began


def shared(log, callers=16):
    """Fences per second that some callers get together, and records per second that these need."""
    ends, counts, before = time.monotonic() + SHARED_SECONDS, [], log.bounds().last

    def call():
        count = 0
        while time.monotonic() < ends:
            log.fence()
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return round(sum(counts) / SHARED_SECONDS), round((log.bounds().last - before) / SHARED_SECONDS)


def under_load(log, other):
    """The median of a fence while another handle appends records of 500 bytes, 100 at a time with a pause of 10 ms."""
    stop = threading.Event()

    def append():
        while not stop.wait(0.01):
            other.append([b"x" * 500] * 100)

    thread = threading.Thread(target=append)
    thread.start()
    found = median_ms(log.fence, 300)
    stop.set()
    thread.join()
    return found


def main(argv=None):
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", help="rabbit://user:password@host:port/vhost of a broker (default: a private one)")
    arguments = parser.parse_args(argv)
    with ExitStack() as stack:
        _, log_url = open_broker(stack, arguments.url)
        log, other = (stack.enter_context(open_log(log_url("fence"))) for _ in range(2))
        log.append([b"first"])
        log.fence()
        per_second, records = shared(log)
        print(
            json.dumps(
                {
                    "benchmark": "fence",
                    "fence_ms": median_ms(log.fence, 500),
                    "bounds_ms": median_ms(log.bounds, 100),
                    "after_a_pause_ms": round(statistics.median([after_a_pause(log.fence) for _ in range(5)]) * 1e3, 2),
                    "fences_per_second_of_16_callers": per_second,
                    "records_per_second_for_these": records,
                    "under_load_ms": under_load(log, other),
                }
            )
        )


if __name__ == "__main__":
    main()
