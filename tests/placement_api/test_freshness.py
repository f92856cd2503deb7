"""What a client wrote through one worker, it reads through another one."""

import os
import resource

import pytest

from placement_api.freshness import SharedPositions
from placement_api.region import Region
from placement_api.starting import ServedPort
from rpc_api import errors, events
from tests.placement_api.client import client_of
from tests.placement_api.regions import WHO, prepare, uuid_of, workers
from tests.servers import wait_until

URL = "sqlite:////somewhere.db"
#: Writes of a test, and how many more until the reading worker was behind once.
LEAST, MOST = 50, 5000


def test_the_last_position_of_all_workers_counts(tmp_path):
    one, other = SharedPositions(tmp_path, URL), SharedPositions(tmp_path, URL)
    assert one.last("epoch") == -1
    one.acknowledge("epoch", 7)
    other.acknowledge("epoch", 5)
    assert one.last("epoch") == other.last("epoch") == 7
    other.acknowledge("epoch", 9)
    one.acknowledge("epoch", 8)
    assert one.last("epoch") == other.last("epoch") == 9
    one.close()
    other.close()


def test_positions_of_a_recreated_log_begin_again(tmp_path):
    one, other = SharedPositions(tmp_path, URL), SharedPositions(tmp_path, URL)
    one.acknowledge("before", 1000)
    other.acknowledge("after", 3)
    assert (one.last("before"), one.last("after")) == (1000, 3)
    one.acknowledge("after", 2)
    assert (one.last("before"), one.last("after")) == (-1, 3)
    one.close()
    other.close()


@pytest.mark.parametrize(
    "position, end, last, is_lost", [(9, 9, 9, False), (5, 9, 9, False), (5, 5, 5, True), (5, 7, 7, True)]
)
def test_what_a_log_lost_is_forgotten(tmp_path, position, end, last, is_lost):
    one, other = SharedPositions(tmp_path, URL), SharedPositions(tmp_path, URL)
    one.acknowledge("epoch", 3)
    other.acknowledge("epoch", 9)
    assert one.forget_lost("epoch", position, lambda: end) is is_lost
    assert one.last("epoch") == other.last("epoch") == last
    other.acknowledge("epoch", 10)
    assert one.last("epoch") == 10
    one.close()
    other.close()


def test_logs_do_not_share_positions(tmp_path):
    one, other = SharedPositions(tmp_path, URL), SharedPositions(tmp_path, URL + "2")
    one.acknowledge("epoch", 7)
    assert other.last("epoch") == -1
    one.close()
    other.close()


def test_the_position_of_a_worker_that_ended_stays(tmp_path):
    ended = SharedPositions(tmp_path, URL)
    ended.acknowledge("epoch", 7)
    ended.close()
    other = SharedPositions(tmp_path, URL)
    assert other.last("epoch") == 7
    other.close()


def test_a_directory_that_cannot_be_used_is_a_wrong_option(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UsageError, match="state_dir"):
        SharedPositions(tmp_path / "file", URL)


def test_write_on_one_worker_and_read_on_the_other(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    provider = uuid_of("provider")
    with workers({"cell1": url}, tmp_path / "shared") as (one, other):
        assert one.write(events.ProviderCreated(provider, "name 0", None, *WHO)).reason is None
        stale = 0
        for number in range(1, MOST):
            writer, reader = (one, other) if number % 2 else (other, one)
            changed = events.ProviderChanged(provider, f"name {number}", None, False, *WHO)
            assert writer.write(changed).reason is None
            stale += reader.logs["cell1"].projection.position < writer.logs["cell1"].projection.position
            reader.wait_for_shared()
            with reader.lock:
                assert reader.table.provider_names[reader.row_of(provider)] == f"name {number}"
            if stale and number >= LEAST:
                break
        assert stale, "no read had to wait, so the test shows nothing"


#: What a client writes through one worker, and then asks the other one.
ASKED = {
    "a provider": (
        lambda number: None,
        lambda reader, uuid: reader.ask("GET", f"/resource_providers/{uuid}").status == 200,
    ),
    "the list": (
        lambda number: None,
        lambda reader, uuid: reader.ask("GET", f"/resource_providers?uuid={uuid}").body["resource_providers"] != [],
    ),
    "a trait": (
        lambda number: ("PUT", f"/traits/CUSTOM_{number}", None),
        lambda reader, uuid: reader.ask("GET", f"/traits?name=startswith:CUSTOM_{uuid}").body["traits"] != [],
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_a_worker_of_another_machine_wrote_is_not_denied(tmp_path, what):
    """The two share no directory, as workers of two machines: what the second one does not know it says behind a
    fence."""
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    write, is_there = ASKED[what]
    behind = 0
    with workers({"cell1": url}) as (one, other):
        writer, reader = client_of(one), client_of(other)
        for number in range(MOST):
            uuid = number if what == "a trait" else uuid_of(f"provider {number}")
            body = {"name": f"provider {number}", "uuid": uuid}
            answer = writer.ask(*(write(number) or ("POST", "/resource_providers", body)))
            assert answer.status in (200, 201)
            behind += other.logs["cell1"].projection.position < one.logs["cell1"].projection.position
            assert is_there(reader, uuid)
            if behind and number >= LEAST:
                break
    assert behind, "the second worker was never behind, so the test shows nothing"


P, CONSUMER = uuid_of("p"), uuid_of("c")
#: Path -> what makes its answer one that is not empty.
EMPTY = {
    f"/resource_providers/{P}/inventories": ("inventories", {"VCPU": {"total": 4}}),
    f"/resource_providers/{P}/traits": ("traits", ["HW_CPU_X86_AVX"]),
    f"/resource_providers/{P}/aggregates": ("aggregates", [uuid_of("rack")]),
    f"/resource_providers/{P}/usages": ("inventories", {"VCPU": {"total": 4}}),
    f"/resource_providers/{P}/allocations": None,
    "/usages?project_id=project": None,
    "/usages?project_id=project&consumer_type=all": None,
    f"/allocations/{CONSUMER}": None,
    "/resource_providers?name=q": ("POST", {"name": "q"}),
}


@pytest.mark.parametrize("path", EMPTY)
@pytest.mark.parametrize("version", ["1.37", "1.39"])
def test_that_nothing_is_there_is_said_behind_a_fence(path, version):
    region = Region.in_memory()
    client, fences, fence = client_of(region), [], region.fence
    region.fence = lambda: fences.append(1) or fence()
    sent = {"OpenStack-API-Version": f"placement {version}"}
    if version < "1.38" and "consumer_type" in path:
        path = path.partition("&")[0]
    client.do("POST", "/resource_providers", {"name": "p", "uuid": P})
    client.do("GET", path, **sent)
    assert len(fences) == 1
    made = EMPTY.get(path)
    if made is None:
        body = {"resource_provider_generation": 0, "inventories": {"VCPU": {"total": 4}}}
        client.do("PUT", f"/resource_providers/{P}/inventories", body)
        assert client.put(CONSUMER, None, {P: {"VCPU": 1}}).status == 204
    elif made[0] == "POST":
        client.do("POST", "/resource_providers", made[1])
    else:
        kind, value = made
        client.do("PUT", f"/resource_providers/{P}/{kind}", {"resource_provider_generation": 0, kind: value})
    client.do("GET", path, **sent)
    assert len(fences) == 1
    region.close()


@pytest.mark.parametrize("kind, nothing", [("inventories", {}), ("traits", []), ("aggregates", [])])
def test_a_write_of_nothing_is_written_once(kind, nothing):
    region = Region.in_memory()
    client = client_of(region)
    client.do("POST", "/resource_providers", {"name": "p", "uuid": P})
    before = region.new_roots.projection.position
    client.do("PUT", f"/resource_providers/{P}/{kind}", {"resource_provider_generation": 0, kind: nothing})
    assert region.new_roots.projection.position == before + 1
    region.close()


def test_allocations_are_read_behind_a_fence_where_other_machines_write(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url)
    provider, consumer = uuid_of("provider"), uuid_of("consumer")
    behind = 0
    with workers({"cell1": url}, has_neighbours=True) as (one, other):
        writer, reader = client_of(one), client_of(other)
        writer.provider("provider", provider, VCPU=MOST)
        for number in range(MOST):
            assert writer.put(consumer, number or None, {provider: {"VCPU": number + 1}}).status == 204
            behind += other.logs["cell1"].projection.position < one.logs["cell1"].projection.position
            assert reader.held(consumer) == {provider: {"VCPU": number + 1}}
            if behind and number >= LEAST:
                break
    assert behind, "the second worker was never behind, so the test shows nothing"


def test_a_file_that_is_made_shorter_kills_no_worker(tmp_path):
    """A process that has the file mapped into its memory would get SIGBUS."""
    one, other = SharedPositions(tmp_path, URL), SharedPositions(tmp_path, URL)
    one.acknowledge("epoch", 7)
    (file,) = tmp_path.glob("*.positions")
    os.truncate(file, 0)
    assert other.last("epoch") == -1
    with pytest.raises(errors.NovaSchedError, match="was removed or made shorter while this worker used it"):
        other.keep()
    one.acknowledge("epoch", 8)
    assert other.last("epoch") == 8
    one.close()
    other.close()


def test_a_worker_whose_file_is_made_shorter_ends_with_a_sentence(tmp_path):
    url = f"sqlite:///{tmp_path}/cell1.db"
    prepare(url, "cell1")
    with workers({"cell1": url}, tmp_path / "shared", count=1) as (region,):
        (file,) = (tmp_path / "shared").glob("*.positions")
        os.truncate(file, 0)
        wait_until(lambda: region.fault is not None, 30, "it notices")
        assert "made shorter" in str(region.fault)


@pytest.mark.parametrize(
    "use", [lambda path: SharedPositions(path, URL), lambda path: ServedPort(path, 8778, ["cell1"])]
)
def test_a_file_system_without_space(tmp_path, use):
    """(A limit of the size of files gives the same errors as a file system that is full.)"""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        with pytest.raises(errors.UsageError, match="cannot be used .* state_dir"):
            use(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
