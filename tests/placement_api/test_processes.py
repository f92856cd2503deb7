"""Several worker processes over one stream of RabbitMQ: races for one unit, and workers and brokers that are killed."""

import contextlib
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.placement_api.client import holding
from tests.placement_api.processes import Connection, Worker
from tests.placement_api.regions import prepare, uuid_of
from tests.servers import wait_until

pytestmark = pytest.mark.rabbit

PROVIDER = uuid_of("provider")
#: Rounds of a race, and consumers of a client in a test of kills.
ROUNDS, ROUNDS_LONG = 30, 1000


@contextlib.contextmanager
def workers(tmp_path, url, count=2):
    """Some workers over a new log, with a provider of a unit of VCPU and many of MEMORY_MB."""
    prepare(url)
    with contextlib.ExitStack() as ending:
        found = [Worker(tmp_path, {"cell1": url}) for _ in range(count)]
        for one in found:
            ending.callback(one.close)
            one.start()
        for one in found:
            one.wait_ready()
        client = Connection(found[0])
        assert client.ask("POST", "/resource_providers", {"name": "provider", "uuid": PROVIDER})[0] == 200
        inventories = {"VCPU": {"total": 1}, "MEMORY_MB": {"total": 2**31 - 1}}
        body = {"resource_provider_generation": 0, "inventories": inventories}
        assert client.ask("PUT", f"/resource_providers/{PROVIDER}/inventories", body)[0] == 200
        yield found


def race(found, clients, rounds):
    """Each round has one winner, and the others get 409."""
    connections = [Connection(found[number % len(found)]) for number in range(clients)]
    for round_ in range(rounds):
        answers = {}
        barrier = threading.Barrier(clients)

        def run(number, barrier=barrier, answers=answers, round_=round_):
            consumer = uuid_of(f"racer {round_} {number}")
            barrier.wait()
            answers[consumer] = connections[number].ask(
                "PUT", f"/allocations/{consumer}", holding(None, {PROVIDER: {"VCPU": 1}})
            )

        threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = sorted(status for status, _ in answers.values())
        assert statuses == [204] + [409] * (clients - 1), answers
        (winner,) = (consumer for consumer, (status, _) in answers.items() if status == 204)
        # Each worker knows the winner, whichever of them wrote it.
        for connection in connections[: len(found)]:
            held = connection.ask("GET", f"/allocations/{winner}")[1]["allocations"]
            assert held[PROVIDER]["resources"] == {"VCPU": 1}
        assert connections[0].ask("DELETE", f"/allocations/{winner}")[0] == 204


@pytest.fixture
def url(rabbit_server, vhost):
    """The URL of a new log."""
    return rabbit_server.url("nova_sched.cell1", vhost=vhost)


def test_one_unit_has_one_winner(tmp_path, url):
    with workers(tmp_path, url) as found:
        race(found, 4, ROUNDS)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("clients", [2, 4, 8])
def test_one_unit_has_one_winner_in_many_rounds(tmp_path, url, clients):
    with workers(tmp_path, url) as found:
        race(found, clients, ROUNDS_LONG)


#: What a client asks after a write of its consumer's memory -> that memory in the answer's body.
ASKED = {
    "/allocations/{consumer}": lambda body, consumer: body["allocations"][PROVIDER]["resources"]["MEMORY_MB"],
    f"/resource_providers/{PROVIDER}/allocations": lambda body, consumer: body["allocations"][consumer]["resources"][
        "MEMORY_MB"
    ],
    "/usages?project_id={consumer}": lambda body, consumer: body["usages"]["INSTANCE"]["MEMORY_MB"],
}


def write_and_read(found, consumer, rounds):
    """A client writes through one worker and reads through the other one, in turns. Returns the answers that do not
    show what it wrote last."""
    connections, generation, wrong = [Connection(worker) for worker in found], None, []
    asked = itertools.cycle(ASKED.items())
    for number in range(1, rounds + 1):
        writer, reader = connections if number % 2 else connections[::-1]
        body = {
            "allocations": {PROVIDER: {"resources": {"MEMORY_MB": number}}},
            "consumer_generation": generation,
            "project_id": consumer,
            "user_id": "user",
            "consumer_type": "INSTANCE",
        }
        status, answer = writer.ask("PUT", f"/allocations/{consumer}", body)
        generation = (generation or 0) + 1
        path, memory_in = next(asked)
        shown = reader.ask("GET", path.format(consumer=consumer)) if status == 204 else (status, answer)
        if shown[0] != 200 or memory_in(shown[1], consumer) != number:
            wrong.append((number, path, shown))
    return wrong


#: No conductor writes checkpoints here, and after so many writes without a checkpoint a log takes none.
WRITES_MAX = 40_000


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("writes", [400, pytest.param(100_000, marks=pytest.mark.long)])
def test_what_one_worker_wrote_the_other_one_shows(tmp_path, rabbit_server, vhost, writes):
    parts = -(-writes // WRITES_MAX)
    for part in range(parts):
        url = rabbit_server.url(f"nova_sched.part{part}", vhost=vhost)
        with workers(tmp_path, url) as found, ThreadPoolExecutor() as pool:
            rounds = writes // parts // 2
            clients = [pool.submit(write_and_read, found, uuid_of(f"client {number}"), rounds) for number in range(2)]
            assert [client.result() for client in clients] == [[], []]


class Load:
    """Clients that write new consumers through some workers, and note which writes were acknowledged. After a fault a
    client repeats its write: 409 then means that its own write counts."""

    def __init__(self, found):
        self.acknowledged = []
        self.wrong = []
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(one, number)) for number, one in enumerate(found)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _run(self, worker, number):
        connection = Connection(worker)
        for count in itertools.count():
            consumer, unsure = uuid_of(f"consumer {number} {count}"), False
            while not self._stopped.is_set():
                try:
                    status, body = connection.ask(
                        "PUT", f"/allocations/{consumer}", holding(None, {PROVIDER: {"MEMORY_MB": 1}})
                    )
                except OSError:
                    status, body, unsure = None, None, True
                if status == 204 or (status == 409 and unsure):
                    self.acknowledged.append(consumer)
                    break
                if status not in (None, 503):
                    self.wrong.append((status, body))
                    return
                unsure = True
                self._stopped.wait(0.05)
            if self._stopped.is_set():
                return

    def wait(self, more, seconds=60):
        """Wait until so many more writes are acknowledged."""
        wanted = len(self.acknowledged) + more
        wait_until(lambda: len(self.acknowledged) >= wanted or self.wrong, seconds, "no writes are acknowledged")
        assert not self.wrong


def check(worker, acknowledged):
    """Each acknowledged write is there, and nothing else."""
    connection = Connection(worker)
    # While its log is down, a worker shows the last state that it read.
    wait_until(lambda: connection.ask("PUT", "/traits/CUSTOM_READY")[0] in (201, 204), 60, "it takes no writes")
    status, body = connection.ask("GET", f"/resource_providers/{PROVIDER}/allocations")
    assert status == 200
    missing = set(acknowledged) - body["allocations"].keys()
    assert not missing
    # Of a write that was under way at the end, the client does not know whether it counts.
    assert len(body["allocations"].keys() - set(acknowledged)) <= 2
    used = connection.ask("GET", f"/resource_providers/{PROVIDER}/usages")[1]["usages"]
    assert used["MEMORY_MB"] == len(body["allocations"])


def test_a_worker_is_killed_and_the_other_one_answers(tmp_path, url):
    with workers(tmp_path, url) as (killed, other):
        failed, stopped = [], threading.Event()

        def read():
            connection = Connection(other)
            while not stopped.is_set():
                try:
                    answer = connection.ask("GET", f"/resource_providers/{PROVIDER}")
                except OSError as fault:
                    answer = fault
                if not isinstance(answer, tuple) or answer[0] != 200:
                    failed.append(answer)

        reader = threading.Thread(target=read)
        with Load((killed, other)) as load:
            reader.start()
            for _ in range(3):
                load.wait(20)
                killed.kill()
                load.wait(20)
                killed.start().wait_ready()
            load.wait(20)
        stopped.set()
        reader.join()
        assert not failed
        for worker in (killed, other):
            check(worker, load.acknowledged)


def test_the_broker_is_killed(tmp_path, rabbit):
    with workers(tmp_path, rabbit.url("nova_sched.cell1")) as found:
        with Load(found) as load:
            load.wait(20)
            rabbit.wait_kept()
            rabbit.kill()
            connection = Connection(found[0])
            # Reads go on, and a write gets a clear answer.
            wait_until(
                lambda: connection.ask("PUT", "/traits/CUSTOM_LATE")[0] == 503, 60, "a write without a broker gets 503"
            )
            status, body = connection.ask("GET", f"/resource_providers/{PROVIDER}/inventories")
            assert (status, body["inventories"]["VCPU"]["total"]) == (200, 1)
            rabbit.start()
            began = time.monotonic()
            load.wait(1)
            print(f"the first write {time.monotonic() - began:.1f} s after the broker accepts connections")
            load.wait(20)
        for worker in found:
            check(worker, load.acknowledged)


def test_a_worker_stops_in_good_order(tmp_path, url):
    with workers(tmp_path, url) as (stopped, other):
        with Load((stopped, other)) as load:
            load.wait(20)
            assert stopped.stop() == 0
            load.wait(20)
        assert "Traceback" not in stopped.console()
        check(other, load.acknowledged)
