"""Whatever a RequestSpec lacks or holds, the conductor gets hosts, or NoValidHost with a reason that the log records.

One whole request is spoilt in each of its fields, one at a time and several at once, as a primitive on the wire. After
each one the scheduler still decides, and nothing of it is a fault.
"""

import logging
import math
import random

import pytest
from oslo_config import cfg

from nova_sched.scheduler.endpoint import SchedulerEndpoint
from rpc_api import errors
from rpc_api.bus import MessagingBus
from rpc_api.contracts.scheduler import VERSION
from rpc_api.nova_exception import NoValidHost
from rpc_api.objects import base
from rpc_api.objects.context import RequestContext
from tests.builders import CONTEXT, uuid_of
from tests.end_to_end.every_field import CELL, UNSET, paths, spoilt, whole
from tests.end_to_end.site import Site
from tests.servers import wait_until

#: What a field may hold beside what it should.
ODD = [
    UNSET,
    None,
    True,
    False,
    -1,
    0,
    1,
    7,
    2**31,
    2**53,
    -(2**63),
    2**63,
    2**70,
    0.5,
    -0.0,
    math.nan,
    math.inf,
    1e308,
    "",
    "text",
    "-1",
    "99999999999999999999",
    "nan",
    "a,b",
    ",",
    "\x00\x1b[31m\r\n",
    "\ud800",
    "\u202e\u0661",
    "x" * 70_000,
    "trait:",
    "resources:VCPU",
    uuid_of("other"),
    [],
    [None],
    [[]],
    [[], []],
    [-1],
    [2**70],
    ["", ""],
    ["text"] * 3,
    [1.5, "x"],
    ["x" * 300] * 300,
    {},
    {"": ""},
    {"a": None},
    {"a": []},
    {"a": {}},
    {"1": 2**70},
    {"\x00": "\n"},
    {"resources:": "1"},
    {"resources:VCPU": "-1"},
    {"trait:X": "maybe"},
    {"hw:cpu_policy": "mixed"},
    {"max_server_per_host": "nan"},
    {"group": ["text"]},
    {"fault_domain": []},
    {"_nova_check_type": ["rebuild", "x"]},
    {"query": ["["]},
    {base.NAME: "RequestSpec"},
    {base.NAME: "ImageMeta", base.NAMESPACE: "nova", base.VERSION: "1.8", base.DATA: {}},
    {base.NAME: None, base.NAMESPACE: 1, base.VERSION: [], base.DATA: None},
    {base.NAME: "Flavor", base.NAMESPACE: "nova", base.VERSION: "1.99", base.DATA: {}},
    "1.99",
    "2.0",
    "0.9",
    "1.0",
    "affinity",
    "anti-affinity",
    "soft-affinity",
    "dedicated",
    "mixed",
    "shared",
    "required",
    "isolate",
    "1.2",
]
#: Path -> its name.
ALL = {path: ".".join(map(str, path)).replace("nova_object.", "") for path in paths()}


@pytest.fixture(scope="module")
def site():
    made = Site("one")
    yield made
    made.close()


def check(site, caplog, primitive, what, **arguments):
    """Ask, and see that the answer is one of the two that there may be."""
    caplog.clear()
    site.refusals()
    got = site.ask(primitive, **arguments)
    if isinstance(got, NoValidHost):
        reasons = site.refusals()
        assert reasons and all(reasons), f"{what}: {got} is not on record"
        assert "fault of" not in str(got), f"{what}: {got}"
        assert str(got).isprintable() or "\n" not in str(got), f"{what}: {got!r}"
    else:
        assert got and all(host in ("a", "b") for of_one in got for host in of_one), f"{what}: {got}"
        site.release()
    assert site.scheduler.fault is None, what
    loud = [
        record
        for record in caplog.records
        if record.levelno >= logging.ERROR or (record.exc_info and record.levelno > logging.DEBUG)
    ]
    assert not loud, f"{what}: {loud[0].getMessage()}"
    return got


def test_the_whole_request_is_placed(site, caplog):
    assert check(site, caplog, whole(), "whole") == [["a"]]


def run(site, caplog, spoil):
    """Check each of (what, primitive); an ordinary request is placed afterwards."""
    for what, primitive in spoil:
        check(site, caplog, primitive, what)
    assert check(site, caplog, whole(), "an ordinary request afterwards") == [["a"]]


SEED = 20261129


@pytest.mark.parametrize("part", range(8))
def test_one_field_is_spoilt(site, caplog, part):
    """Each field is left out and None, and holds some of what is odd."""
    draw = random.Random(SEED + part)
    run(
        site,
        caplog,
        [
            (f"{ALL[path]} = {str(value)[:60]!r}", spoilt(whole(), path, value))
            for path in sorted(ALL, key=str)[part::8]
            for value in (UNSET, None, *draw.sample(ODD, 2))
        ],
    )


@pytest.mark.long
@pytest.mark.parametrize("part", range(32))
def test_one_field_holds_everything_odd(site, caplog, part):
    run(
        site,
        caplog,
        [
            (f"{ALL[path]} = {str(value)[:60]!r}", spoilt(whole(), path, value))
            for path in sorted(ALL, key=str)[part::32]
            for value in ODD
        ],
    )


@pytest.mark.parametrize("seed", range(4))
def test_some_fields_are_spoilt_at_once(site, caplog, seed):
    draw = random.Random(SEED * 1000 + seed)
    made = []
    for _ in range(60):
        primitive, said = whole(), []
        for path in draw.sample(sorted(ALL, key=str), draw.randint(2, 6)):
            value = draw.choice(ODD)
            primitive = spoilt(primitive, path, value)
            said.append(f"{ALL[path]} = {str(value)[:60]!r}")
        made.append(("; ".join(said), primitive))
    run(site, caplog, made)


# --- beside the RequestSpec ------------------------------------------------------------------------------------------

CONTEXTS = {
    "none": None,
    "of no id": RequestContext.from_dict({}),
    "an empty map": {},
    "a text": "context",
    "an id of another kind": RequestContext.from_dict({"request_id": ["req"]}),
    "an id of control characters": RequestContext.from_dict({"request_id": "req-\x00\r\n\x1b[31m"}),
    "an id of 70,000 characters": RequestContext.from_dict({"request_id": "r" * 70_000}),
    "an id with half a character": RequestContext.from_dict({"request_id": "\ud800"}),
}


@pytest.mark.parametrize("what", CONTEXTS)
@pytest.mark.parametrize("refused", [False, True])
def test_a_context(site, caplog, what, refused):
    primitive = spoilt(whole(), (base.DATA, "flavor"), UNSET) if refused else whole()
    got = check(site, caplog, primitive, what, context=CONTEXTS[what])
    assert isinstance(got, NoValidHost) == refused
    assert all(line.isprintable() for line in caplog.messages)


#: instance_uuids -> how many instances get hosts; a text: what the refusal says.
INSTANCES = [
    ([uuid_of("one")], 1),
    ([uuid_of("one"), uuid_of("two")], 2),
    ([uuid_of("one").upper()], 1),
    (None, 1),
    ([], 1),
    ((), 1),
    ([None], "not a UUID"),
    (["x"], "not a UUID"),
    ([[]], "not a UUID"),
    ([{}], "not a UUID"),
    (["\ud800"], "not a UUID"),
    ([uuid_of("one")] * 2, "an instance twice"),
    ([uuid_of(str(number)) for number in range(1001)], "1001 as its"),
    ("one", "wanted a list"),
    (7, "wanted a list"),
    (True, "wanted a list"),
    ({"a": uuid_of("one")}, "wanted a list"),
    ([uuid_of("one"), math.nan], "not a UUID"),
]


@pytest.mark.parametrize("uuids, wanted", INSTANCES)
def test_instance_uuids(site, caplog, uuids, wanted):
    got = check(site, caplog, spoilt(whole(), (base.DATA, "num_instances"), 1), uuids, instance_uuids=uuids)
    assert wanted in str(got) if isinstance(wanted, str) else len(got) == wanted


@pytest.mark.parametrize(
    "number, uuids, wanted",
    [
        (3, None, "names no instances and asks for 3"),
        (0, [], "names no instances and asks for 0"),
        (UNSET, None, 1),
        (-1, None, "asks for -1"),
        (2**70, None, "asks for"),
        # A move of one of several instances: nova counts the instances that are named.
        (3, [uuid_of("one")], 1),
        (1, [uuid_of("one"), uuid_of("two")], 2),
    ],
)
def test_num_instances(site, caplog, number, uuids, wanted):
    primitive = spoilt(whole(), (base.DATA, "num_instances"), number)
    got = check(site, caplog, primitive, number, instance_uuids=uuids)
    assert wanted in str(got) if isinstance(wanted, str) else len(got) == wanted


def test_no_instance_anywhere(site, caplog):
    primitive = spoilt(whole(), (base.DATA, "instance_uuid"), UNSET)
    assert "instance_uuid" in str(check(site, caplog, primitive, "no instance", instance_uuids=None))
    assert check(site, caplog, primitive, "one instance", instance_uuids=[uuid_of("one")]) == [["a"]]


@pytest.mark.parametrize(
    "spec_obj",
    [
        None,
        {},
        [],
        "RequestSpec",
        7,
        math.nan,
        [whole()],
        {"flavor": {"vcpus": 1}},
        whole("Flavor"),
        whole("InstanceGroup"),
        {base.NAME: "RequestSpec"},
    ],
)
def test_a_spec_of_another_kind(site, caplog, spec_obj):
    assert isinstance(check(site, caplog, spec_obj, "another kind"), NoValidHost)


@pytest.mark.parametrize(
    "arguments",
    [
        {
            "request_spec": {"instance_properties": {"uuid": uuid_of("old")}, "num_instances": 1},
            "filter_properties": {},
        },
        {"request_spec": None, "filter_properties": None},
        {"unknown": 1},
        {"request_spec": {base.NAME: "Nonsense"}},
    ],
)
def test_arguments_of_other_versions(site, caplog, arguments):
    """Conductors before scheduler RPC 4.3 sent two maps; later ones may send what is not known here."""
    given = {"spec_obj": None, **arguments} if "unknown" not in arguments else arguments
    spec_obj = given.pop("spec_obj", whole())
    assert isinstance(check(site, caplog, spec_obj, "arguments", **given), NoValidHost)


@pytest.mark.parametrize("version", ["1.16", "1.99", "2.0"])
@pytest.mark.parametrize("name", sorted(base.manifest("RequestSpec")))
def test_a_newer_version_is_never_half_read(site, caplog, name, version):
    newer = (
        f"2.{base.parse_version(base.CLASSES[name].VERSION)[1]}"
        if version == "2.0"
        else (f"1.{base.parse_version(base.CLASSES[name].VERSION)[1] + 1}" if version == "1.16" else version)
    )
    primitive, found = whole(), [path for path in ALL if path[-1] == base.NAME and _at(whole(), path) == name]
    for path in found or [(base.NAME,)]:
        primitive = spoilt(primitive, (*path[:-1], base.VERSION), newer)
    got = check(site, caplog, primitive, f"{name} {newer}")
    assert isinstance(got, NoValidHost) and f"its version is '{newer}'" in str(got) and "upgrade" in str(got)


def _at(primitive, path):
    for key in path:
        primitive = primitive[key]
    return primitive


# --- the other methods -----------------------------------------------------------------------------------------------

HOST_AGGREGATE = {"uuid": uuid_of("aggregate"), "name": "one", "hosts": ["a"], "metadata": {"key": "value"}, "id": 1}


def aggregate(version="1.3", **fields):
    data = {name: value for name, value in {**HOST_AGGREGATE, **fields}.items() if value is not UNSET}
    return {base.NAME: "Aggregate", base.NAMESPACE: "nova", base.VERSION: version, base.DATA: data}


def listed(*aggregates, version="1.3"):
    return {
        base.NAME: "AggregateList",
        base.NAMESPACE: "nova",
        base.VERSION: version,
        base.DATA: {"objects": list(aggregates)},
    }


def instance_list(*instances, version="2.6", of_instance="2.8"):
    return {
        base.NAME: "InstanceList",
        base.NAMESPACE: "nova",
        base.VERSION: version,
        base.DATA: {
            "objects": [
                {base.NAME: "Instance", base.NAMESPACE: "nova", base.VERSION: of_instance, base.DATA: data}
                for data in instances
            ]
        },
    }


def known(site):
    """Aggregates, and instances that are tracked on a."""
    site.folded("cell0"), site.folded(CELL)
    return site.scheduler.call(
        lambda engine: (sorted(engine.world.table.aggregates), sorted(engine.world.projections[CELL].tracked.of("a")))
    ).result(20)


@pytest.mark.parametrize(
    "form",
    [
        [aggregate()],
        [aggregate(id=UNSET)],
        aggregate(),
        listed(aggregate()),
        [aggregate("1.2")],
        listed(aggregate(), version="1.0"),
    ],
)
def test_forms_of_aggregates(site, form):
    site.client.call(CONTEXT, "update_aggregates", aggregates=form, timeout=20)
    assert known(site)[0] == [uuid_of("aggregate")]
    site.client.call(CONTEXT, "delete_aggregate", aggregate=aggregate(hosts=UNSET), timeout=20)
    assert known(site)[0] == []


VM = {"uuid": uuid_of("tracked"), "system_metadata": {}}
CASTS = [
    ("update_aggregates", {"aggregates": form})
    for form in (
        None,
        7,
        "x",
        [None],
        [7],
        {},
        [{}],
        aggregate("1.4"),
        [aggregate(uuid=UNSET)],
        [aggregate(name=UNSET)],
        [aggregate(hosts=UNSET)],
        [aggregate(hosts=[None])],
        [aggregate(metadata=7)],
        [aggregate(metadata={"a": None})],
        [whole("Flavor")],
        listed(None),
        listed(version="1.4"),
        {base.NAME: "X"},
    )
]
CASTS += [
    ("delete_aggregate", {"aggregate": form})
    for form in (None, 7, {}, aggregate(uuid=UNSET), aggregate("2.0"), whole("Flavor"))
]
CASTS += [
    ("update_instance_info", {"host_name": "a", "instance_info": form})
    for form in (
        None,
        7,
        [],
        {},
        instance_list({}),
        instance_list({"uuid": "x"}),
        instance_list({**VM, "uuid": None}),
        instance_list({**VM, "system_metadata": 7}),
        instance_list(VM, version="2.7"),
        instance_list(VM, version="3.0"),
        instance_list(VM, of_instance="2.9"),
        instance_list(VM, version=None),
        whole("Flavor"),
        instance_list(7),
    )
]
CASTS += [
    ("sync_instance_info", {"host_name": "a", "instance_uuids": form}) for form in (None, 7, ["x"], "x", [None], [[]])
]
CASTS += [("sync_instance_info", {"host_name": form, "instance_uuids": []}) for form in (None, 7, [], {})]
CASTS += [("delete_instance_info", {"host_name": "a", "instance_uuid": form}) for form in (None, 7, "x", [], {})]
CASTS += [("update_instance_info", {}), ("sync_instance_info", {"host": "a"}), ("delete_aggregate", {"aggregates": []})]


@pytest.mark.parametrize("method, arguments", CASTS)
def test_a_cast_that_cannot_be_read_is_told_of_and_changes_nothing(site, caplog, method, arguments):
    before, text = known(site), f"{method} is not noted"
    with pytest.raises(errors.NovaSchedError) as fault:
        site.client.call(CONTEXT, method, timeout=20, **arguments)
    assert "fault of" not in str(fault.value), fault.value
    said = [record for record in caplog.records if text in record.getMessage()]
    assert [one.levelname for one in said] == ["WARNING"] and not said[0].exc_info
    assert known(site) == before and site.scheduler.fault is None


def test_nothing_else_can_be_called(site):
    for method in ("unreadable", "_answer", "refuse", "select_hosts"):
        with pytest.raises(errors.UsageError, match=f"no endpoint has the method {method}"):
            site.client.call(CONTEXT, method, timeout=20)


# --- through oslo.messaging ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fake(site):
    """A client of the same scheduler through oslo.messaging, which the broker of one process carries."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[])
    bus = MessagingBus(conf, "fake://")
    server = bus.serve("any-request", "s", [SchedulerEndpoint(site.scheduler)], VERSION)
    yield bus.client("any-request", VERSION)
    server.stop()
    bus.close()


@pytest.mark.parametrize(
    "spec_obj",
    [
        None,
        7,
        {base.NAME: "Nonsense"},
        spoilt(whole(), (base.VERSION,), "1.16"),
        spoilt(whole(), (base.DATA,), None),
        spoilt(whole(), (base.DATA, "flavor", base.DATA, "vcpus"), "x"),
        spoilt(whole(), (base.DATA, "flavor"), UNSET),
    ],
)
def test_what_cannot_be_read_is_answered(site, fake, spec_obj):
    site.refusals()
    with pytest.raises(NoValidHost):
        fake.call(CONTEXT, "select_destinations", spec_obj=spec_obj, instance_uuids=[uuid_of("fake")], timeout=20)
    assert len(site.refusals()) == 1
    answer = fake.call(
        CONTEXT,
        "select_destinations",
        spec_obj=whole(),
        instance_uuids=[uuid_of("fake")],
        return_objects=True,
        timeout=20,
    )
    assert answer[0][0].service_host == "a"
    site.release()


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"request_id": 7},
        {"request_id": None},
        {"roles": 7},
        {"user_id": ["x"], "is_admin": {}},
        {"global_request_id": "\n"},
        {"service_catalog": 7, "timestamp": []},
        {"auth_token": "s3cret", "roles": {"a": 1}},
    ],
)
def test_a_context_on_the_wire(site, fake, caplog, context):
    site.refusals()
    spec_obj = spoilt(whole(), (base.DATA, "flavor"), UNSET)
    with pytest.raises(NoValidHost):
        fake.call(context, "select_destinations", spec_obj=spec_obj, instance_uuids=[uuid_of("fake")], timeout=20)
    assert len(site.refusals()) == 1
    assert "s3cret" not in caplog.text and "Traceback" not in caplog.text


def test_a_cast_that_cannot_be_read_is_not_lost_silently(site, fake, caplog):
    fake.cast(CONTEXT, "update_aggregates", aggregates={base.NAME: "Nonsense"})
    wait_until(lambda: "update_aggregates is not noted" in caplog.text, 20, "nobody told of it")
    assert site.scheduler.fault is None
