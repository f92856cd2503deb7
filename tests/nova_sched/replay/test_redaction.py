"""Redaction: nothing private is left in an exported file, and what is made of it again comes out the same."""

import ipaddress
import itertools
import json
import random
import uuid
from types import SimpleNamespace

import pytest

from nova_sched.filters import BUILT_IN
from nova_sched.projection.projection import Projection
from nova_sched.replay.archive.export import export
from nova_sched.replay.archive.log import open_archive
from nova_sched.replay.archive.redaction import _HIDE, Known, Redactor
from nova_sched.replay.logs.moments import Span
from nova_sched.replay.logs.reading import decoded_records, records_between
from nova_sched.selection.decide import summarize
from nova_sched.selection.policy import Policy
from rpc_api import codec, digest, errors, events
from rpc_api.events import EVENTS
from rpc_api.log import Record, open_log
from rpc_api.packing import pack
from tests.asked import Asked
from tests.builders import (
    EPOCH,
    Voice,
    claim,
    confirmation,
    consumer,
    consumer_put,
    decision,
    inventory_of,
    of,
    provider,
    providers_reported,
    put,
    record_of,
    released,
    report,
    request,
    speaker_of,
    started,
    tree,
    uuid_of,
)
from tests.nova_sched.filters.test_cheap_filters import ROWS
from tests.nova_sched.replay import ledger_story
from tests.nova_sched.replay.ledger_story import by

_names = itertools.count()
PROJECT, USER, SECRET = uuid.UUID(int=7).hex, "ada@example.org", "tops3cret"
PRIVATE = (PROJECT, USER, SECRET, "10.1.2.3", "10.1.2.77", "2001:db8::7")


@pytest.fixture
def redactor():
    known = Known()
    known.ids = {PROJECT, USER}
    known.asked_keys = {"rack"}
    return Redactor(b"key", known)


def shared_bits(text, other_text):
    """(IP version, how many first bits two addresses share): they are in the same network of each length up to that."""
    address, other = ipaddress.ip_address(text), ipaddress.ip_address(other_text)
    assert address.version == other.version
    return address.version, address.max_prefixlen - (int(address) ^ int(other)).bit_length()


@pytest.mark.parametrize("network", ["10.0.0.0/8", "192.168.0.0/20", "2001:db8::/33"])
def test_addresses_keep_their_networks(redactor, network):
    rng, network = random.Random(1), ipaddress.ip_network(network)
    texts = [str(network[rng.randrange(2**12)]) for _ in range(60)]
    hidden = [redactor.of.address(text) for text in texts]
    assert not set(hidden) & set(texts) or network.version == 4
    for first, second in itertools.combinations(range(len(texts)), 2):
        assert shared_bits(hidden[first], hidden[second]) == shared_bits(texts[first], texts[second])


@pytest.mark.parametrize(
    "text, kept",
    [
        ("MEMORY_MB", True),
        ("claim refused: VCPU", True),
        ("simulated failure", True),
        (SECRET, False),
        ("claim refused: tops3cret", False),
        ("down", True),
    ],
)
def test_reasons(redactor, text, kept):
    assert (redactor.of.reason(text) == text) is kept


@pytest.mark.parametrize(
    "key, value, hidden",
    [
        ("availability_zone", "az 1", False),
        ("filter_tenant_id", f"{PROJECT}, other", True),
        ("filter_tenant_id3", PROJECT, True),
        ("owner", SECRET, True),
        ("rack", "r1,r2", False),
        ("rack", PROJECT, True),
        ("cpu_weight_multiplier", "2.0", False),
        ("trait:CUSTOM_X", "required", False),
        ("hw_machine_type", "q35,pc", False),
        ("img_owner_id", PROJECT, True),
        ("floor", "3", False),
    ],
)
def test_metadata(redactor, key, value, hidden):
    shown = redactor.metadata({key: value})[key]
    assert (shown != value) is hidden
    assert shown.count(",") == value.count(",") and PROJECT not in shown and SECRET not in shown


def test_ids_in_keys_are_hidden_and_the_keys_stay_equal(redactor):
    """``filter_tenant_id_PROJECT`` is what operators write; a filter's reason quotes the key that it compared."""
    key, hidden = f"of_{PROJECT}", f"of_{redactor.of.name(PROJECT)}"
    updated = events.AggregateUpdated(
        uuid_of("x"), f"hosts of {PROJECT}", ("a",), {f"filter_tenant_id_{PROJECT}": "x", key: "1"}
    )
    shown = redactor.data("AggregateUpdated", updated)
    assert (
        PROJECT not in repr(shown)
        and hidden in shown.metadata
        and all(name == hidden or name.startswith("filter_tenant_id_") for name in shown.metadata)
    )
    asked = request(
        extra_specs={f"aggregate_instance_extra_specs:{key}": "1"},
        scheduler_hints={key: ("1",)},
        image_properties={key: "1"},
    )
    refusals = tuple(
        events.RefusalCount("F", reason, 1) for reason in (f"extra spec {key} of the aggregate", "extra spec of_9")
    )
    evidence = events.Evidence(asked, (), "0" * 16, 1, 2, 0, 0, refusals, ())
    made = private_decision()._replace(evidence=pack(evidence), reason=summarize(0, 2, refusals))
    shown = redactor.data("DecisionMade", made)
    again = events.thaw("Evidence", shown.evidence)
    assert (
        PROJECT.encode() not in shown.evidence
        and f"aggregate_instance_extra_specs:{hidden}" in again.request.extra_specs
    )
    assert PROJECT not in shown.reason and shown.reason == summarize(0, 2, again.refusals)


def test_the_user_of_a_claim_is_hidden():
    """Also where a free text quotes it."""
    known, user = Known(), "5f0c1d7e9a3b4c62"
    said = Voice("scheduler/s").say(claim("vm", "a")._replace(user_id=user))
    known.see(said)
    redactor = Redactor(b"key", known)
    shown = redactor.data("ClaimProposed", said.data)
    assert shown.user_id == redactor.of.name(user) and user not in repr(shown)
    assert user not in redactor.of.text(f"quota of {user}")


def test_words_of_metadata_and_properties_stay_equal(redactor):
    """What AggregateImagePropertiesIsolation and AggregateMultiTenancyIsolation compare."""
    properties = redactor.properties({"owner": "a", "img_owner_id": PROJECT, "flag": "0", "hw_disk_bus": "scsi"})
    metadata = redactor.metadata({"owner": "b, a", "img_owner_id": PROJECT, "filter_tenant_id": f"x,{PROJECT}"})
    assert properties["owner"] in [word.strip() for word in metadata["owner"].split(",")]
    assert properties["img_owner_id"] == metadata["img_owner_id"] == redactor.of.name(PROJECT)
    assert redactor.of.name(PROJECT) in metadata["filter_tenant_id"].split(",")
    assert properties["flag"] == "0" and properties["hw_disk_bus"] == "scsi"


@pytest.mark.parametrize(
    "name, value, hidden",
    [
        ("group", uuid_of("x"), False),
        ("group", "my group", True),
        ("same_host", uuid_of("x"), False),
        ("cidr", "/24", False),
        ("cidr", "/255.255.0.0", False),
        ("build_near_host_ip", "10.1.2.3", True),
        ("color", SECRET, True),
        ("_nova_check_type", "rebuild", False),
        ("query", '[">=", "$free_ram_mb", 1024]', False),
        ("query", '["=", "$host_ip", "10.1.2.3"]', True),
    ],
)
def test_hints(redactor, name, value, hidden):
    (shown,) = redactor.hints({name: (value,)})[name]
    assert (shown != value) is hidden
    if name == "query":
        assert json.loads(shown)[:2] == json.loads(value)[:2]


def test_policies_keep_their_digests(redactor):
    options = Policy(isolated_images=(PROJECT,)).to_json()
    adopted = events.PolicyAdopted(Policy(isolated_images=(PROJECT,)).digest, options)
    hidden = redactor.data("PolicyAdopted", adopted)
    assert PROJECT not in hidden.options and Policy.from_json(hidden.options).digest == hidden.digest != adopted.digest
    forged = redactor.data("PolicyAdopted", adopted._replace(digest="0" * 16))
    assert forged.digest == "0" * 16


def test_every_event_that_has_a_text_is_thought_of():
    """A new event, or a new field of one, is to be looked at: is there anything private in it?"""
    untouched = {name: tuple(schema.fields) for name, schema in EVENTS.items() if name not in _HIDE}
    known = {
        "LogOpened": ("cell", "epoch"),
        "LogRestored": ("cell", "epoch", "from_epoch", "from_position"),
        "LogRebased": ("cell", "first", "accounts_required"),
        "AccountsRequired": ("required",),
        "LevelPinned": ("level",),
        "HostConfirmed": ("host", "digest"),
        "HostSeen": ("host",),
        "ClaimExpired": ("consumer_uuid", "claim_uuid"),
        "ClaimsWatched": ("after_ms", "watched_ms", "building"),
        "InstanceDeleted": ("host", "instance_uuid"),
        "AllocationMoved": ("host", "from_consumer_uuid", "to_consumer_uuid"),
        "AggregateDeleted": ("uuid",),
        "AuthorityPassed": ("host", "authority"),
        "HostEnabled": ("host",),
        "GroupAnchored": ("group_uuid", "cell", "host", "replaces"),
        "GroupFenced": ("group_uuid", "anchor"),
        "CheckpointNamed": ("checkpoint_uuid", "position", "first", "last"),
    }
    changed = sorted(name for name in {*untouched, *known} if untouched.get(name) != known.get(name))
    assert not changed, (
        f"{', '.join(changed)} is new, or has other fields: where one may hold a name of a person or a project, an "
        "address or a free text, add a row to _HIDE in nova_sched/replay/archive/redaction.py; else write its fields "
        "into `known` in this test"
    )
    assert len(events.TABLE["SchedulingRequest"].fields) == 36 and len(events.TABLE["HostInventory"].fields) == 13


@pytest.mark.parametrize("name, said, facts, options, refused", ROWS)
def test_every_filter_refuses_the_same(name, said, facts, options, refused):
    """All that the filters are tested with, hidden: hosts, aggregates, requests, policies."""
    asked, known = request(**facts), Known()
    known.ids = {asked.project_id, "ada"}
    known.asked_keys = {key.rpartition(":")[2] for key in asked.extra_specs}
    hide = Redactor(b"key", known)
    hidden = [hide.data(one.schema.__name__, one) for one in said]
    policy = Policy.from_json(hide.of.kept(Policy(**options).to_json()))
    assert Asked(*hidden).refused_by(BUILT_IN[name], hide.request(asked), policy=policy) == refused


# --- whole logs -----------------------------------------------------------------------------------------------------


def guest():
    return pack(events.Guest((), (), {"os_admin_user": SECRET, "hw_disk_bus": "scsi", "team": SECRET}))


def private(name, *allocations):
    return consumer(name, *(allocations or (of("a", 1),)))._replace(project_id=PROJECT, guest=guest())


def private_decision():
    asked = request(
        project_id=PROJECT,
        user_id=USER,
        extra_specs={"aggregate_instance_extra_specs:rack": PROJECT},
        image_properties={"img_owner_id": PROJECT, "note": SECRET},
        scheduler_hints={"color": (SECRET,), "build_near_host_ip": ("10.1.2.3",)},
    )
    return decision("vm", asked=asked)


def said():
    """Records of everything that holds something private."""
    agent, other, scheduler, conductor = (
        Voice(name) for name in ("compute_agent/a", "compute_agent/b", "scheduler/one", "conductor/c")
    )
    first = report("a", private("vm-0"), inventory=tree("a", host_ip="10.1.2.3"), disabled=True)
    first = first._replace(status=first.status._replace(disabled_reason=f"because of {SECRET}"))
    later = report("a", private("vm-0"), private("vm-1"), inventory=tree("a", host_ip="10.1.2.3"))
    yield record_of(conductor.say(events.LogOpened("cell1", EPOCH)))
    yield record_of(agent.say(first), agent.say(confirmation(first)))
    yield record_of(
        other.say(report("b", inventory=tree("b", host_ip="2001:db8::7"))), other.say(events.HostConfirmed("b", 12345))
    )
    yield record_of(scheduler.say(claim("vm-1", "a")._replace(project_id=PROJECT, guest=guest(), forced=True)))
    yield record_of(
        agent.say(started("vm-1", "a")._replace(consumer=private("vm-1"))),
        agent.say(later),
        agent.say(confirmation(later)),
    )
    yield record_of(agent.say(later._replace(consumers_digest=99)), agent.say(events.HostConfirmed("a", 77)))
    yield record_of(
        scheduler.say(private_decision()),
        scheduler.say(private_decision()._replace(evidence=b"\xc1" + SECRET.encode())),
    )
    yield record_of(
        scheduler.say(
            events.AggregateUpdated(
                uuid_of("rack"), "rack", ("a",), {"filter_tenant_id": PROJECT, "rack": PROJECT, "owner": USER}
            )
        )
    )
    yield record_of(
        conductor.say(events.BuildFailed(uuid_of("vm-1"), "req-1", "a", 1, f"no {SECRET}", False)),
        conductor.say(released("vm-1")._replace(reason=SECRET)),
        conductor.say(events.HostLost("b", f"{SECRET} is down")),
    )
    yield record_of(
        scheduler.say(events.InstancesTracked("a", (events.TrackedInstance(uuid_of("vm-1"), {"team": SECRET}),), ()))
    )
    yield b"\xc1" + SECRET.encode()
    yield codec.msgpack.packb(
        [1, EPOCH, [["Melted", "1.0", "conductor/c", 1, 9, 0, [SECRET]], list(conductor.say(events.HostSeen("b")))]]
    )
    yield record_of(agent.say(report("a", inventory=b"\xc1" + SECRET.encode())))
    yield record_of(scheduler.say(claim("vm-3", "a")._replace(project_id=PROJECT, guest=b"\xc1" + SECRET.encode())))
    yield record_of(conductor.say(events.HostRemoved("b", SECRET)))


def exported(tmp_path, records, **options):
    """The exported log of some records (payloads, or Records)."""
    with open_log(f"memory://redact-{next(_names)}") as log:
        log.append([getattr(record, "payload", record) for record in records])
        with open(tmp_path / "file", "wb") as file:
            export(SimpleNamespace(logs={"cell1": log}), {"cell1": Span(*log.bounds())}, file, 1, **options)
        before = list(decoded_records(log))
        log.delete()
    ((_, archive),) = open_archive(tmp_path / "file")
    return before, archive


def test_nothing_private_is_left(tmp_path):
    records = list(said())
    whole = b"".join(records)
    assert all(one.encode() in whole for one in PRIVATE if one != "10.1.2.77")
    _, archive = exported(tmp_path, records)
    left = b"".join(record.payload for record in records_between(archive))
    assert [one for one in PRIVATE if one.encode() in left] == []
    for frame in archive._shared.reader.frames:
        assert SECRET.encode() not in archive._shared.reader.body(frame)
    assert archive.redacted


def folded(records):
    projection = Projection("cell1")
    outcomes, noted = projection.fold(records)
    return projection, outcomes, noted


def test_the_fold_of_what_is_left_is_the_same_but_for_texts(tmp_path):
    before, archive = exported(tmp_path, said())
    after = list(decoded_records(archive))
    true, outcomes, noted = folded(before)
    hidden, hidden_outcomes, hidden_noted = folded(after)
    assert hidden_outcomes == outcomes and hidden_noted == noted and {one.kind for one in noted} >= {"digest-mismatch"}
    assert [(one.position, one.index) for one in hidden.quarantine] == [
        (one.position, one.index) for one in true.quarantine
    ]
    for counts in (true.counts, hidden.counts):
        for kind in [kind for kind in counts if kind.startswith("set-aside:")]:
            del counts[kind]
    assert hidden.counts == true.counts and true.counts["divergence"] == 2
    assert hidden.producers == true.producers and hidden.hosts.keys() == true.hosts.keys()
    assert [[getattr(one, "name", None) for one in record.events] for _, record in after] == [
        [getattr(one, "name", None) for one in record.events] for _, record in before
    ]
    for name, host in hidden.hosts.items():
        reported = next(
            event.data
            for _, record in reversed(after)
            for event in record.events
            if getattr(event, "name", "") == "HostReported"
            and event.data.host == name
            and event.data.inventory != b"\xc1"
        )
        assert reported.consumers_digest == 99 or host.running_digest == digest.consumers_digest(
            events.thaw("HostConsumers", reported.consumers).consumers
        )


@pytest.mark.parametrize("level, kinds", [(1, []), (2, ["pinned", "closed-provider"])])
def test_a_provider_that_cannot_be_read_stays_so(tmp_path, level, kinds):
    """The report has the same effect as the real one, and of what cannot be read nothing is left."""
    kid = provider("kid", inventory_of("CUSTOM_X", SECRET), parent=0)
    said = report("a", inventory=tree("a", kid)._replace(host_ip="10.1.2.77"))
    pin = record_of(Voice("operator/o").say(events.LevelPinned(2)))
    records = [*[pin] * (level - 1), record_of(Voice("compute_agent/a").say(said), level=level)]
    before, archive = exported(tmp_path, records)
    left = b"".join(record.payload for record in records_between(archive))
    assert SECRET.encode() not in left and b"10.1.2.77" not in left
    for true in (folded(before)[0], folded(list(decoded_records(archive)))[0]):
        assert [note.kind for note in true.noted] == kinds and len(true.quarantine) == 2 - level
        rows = [true.table.uuids[row] for row in range(true.table.count)]
        assert rows == [uuid_of("a"), uuid_of("kid")] * (level - 1)


def written():
    """Writes of Placement's API, each with somebody's name in it, and a tree that cannot be read."""
    kid = provider("kid", inventory_of("CUSTOM_X", SECRET), parent=0)
    story = [data for data in ledger_story.STORY if type(data) is not events.ClaimProposed]
    voices = {}
    level = 1
    for data in [
        *story,
        providers_reported("d"),
        providers_reported("e", tree("e", kid)),
        providers_reported("f")._replace(providers=b"\xc1" + SECRET.encode()),
        by("terms", put(consumer_put("termed", terms=private_terms()))),
        events.Reshaped((), (consumer_put("reshaped"),), "", None),
        events.HostDisabled("a", SECRET),
    ]:
        if "consumers" in data._fields and not isinstance(getattr(data, "consumers", None), bytes):
            data = data._replace(
                consumers=tuple(one._replace(project_id=PROJECT, user_id=USER) for one in data.consumers)
            )
        if "user_id" in data._fields:
            data = data._replace(user_id=USER, request_id=f"req-of-{PROJECT}")
        name = "conductor/c" if getattr(data, "host", "") in ("b", "c") else speaker_of(data)
        yield record_of(voices.setdefault(name, Voice(name)).say(data), level=level)
        level = max(level, getattr(data, "level", 1))


def private_terms():
    return events.ClaimTerms("b", uuid_of("termed"), None, guest(), None)


def writes_of(records):
    projection = Projection("cell1")
    projection.writes = []
    projection.fold(records)
    return [(one.position, one.generation, str(one.reason)) for one in projection.writes], projection


def test_writes_of_the_api(tmp_path):
    records = list(written())
    whole = b"".join(records)
    assert all(one.encode() in whole for one in (PROJECT, USER, SECRET))
    before, archive = exported(tmp_path, records)
    left = b"".join(record.payload for record in records_between(archive))
    assert [one for one in (PROJECT, USER, SECRET) if one.encode() in left] == []
    true, hidden = writes_of(before), writes_of(list(decoded_records(archive)))
    assert hidden[0] == true[0] and len(true[0]) > 15
    assert hidden[1].counts == true[1].counts and hidden[1].trees.keys() == true[1].trees.keys()
    holders = hidden[1].holders
    assert {one.project_id for one in holders.values()} == {redacted_name(holders)} and holders.keys() == true[
        1
    ].holders.keys()


def redacted_name(holders):
    """The one pseudonym of the project; equal names have equal ones."""
    (name,) = {one.project_id for one in holders.values()}
    assert len(name) == 32 and name != PROJECT
    return name


def test_why_an_event_was_taken_out_is_told(tmp_path):
    _, archive = exported(tmp_path, said())
    reasons = [
        event.reason
        for _, record in decoded_records(archive)
        for event in record.events
        if isinstance(event, codec.SetAside)
    ]
    assert len(reasons) == 2 and "'Redacted: undecodable'" in reasons[0] and "'Redacted: unknown-type'" in reasons[1]


def test_each_export_has_names_of_its_own(tmp_path):
    """Two files of one log cannot be joined by their pseudonyms."""
    texts = []
    for _ in range(2):
        _, archive = exported(tmp_path, said())
        texts.append(
            {
                event.data.project_id
                for _, record in decoded_records(archive)
                for event in record.events
                if getattr(event, "name", "") == "ClaimProposed"
            }
        )
    assert len(texts[0]) == 1 and texts[0] != texts[1]


def test_without_redaction_every_byte_stays(tmp_path):
    records = list(said())
    _, archive = exported(tmp_path, records, redact=False)
    assert [record.payload for record in records_between(archive)] == records and not archive.redacted


@pytest.mark.parametrize(
    "account, producers, kept",
    [
        (None, ["scheduler/a"], True),
        ("scheduler", ["scheduler/a"], True),
        ("scheduler.a", ["scheduler/a"], True),
        ("ada", ["scheduler/a"], False),
        ("scheduler.b", ["scheduler/a"], False),
        ("ada", [], False),
    ],
)
def test_accounts(redactor, account, producers, kept):
    shown = redactor.of.account(account, producers)
    assert (shown == account) is kept and (shown is None) == (account is None)


def test_a_record_that_grows_too_large_is_said(tmp_path):
    agent = Voice("compute_agent/a")
    many = [
        agent.say(started(f"vm-{number}", "a")._replace(consumer=consumer(f"vm-{number}")._replace(project_id="p")))
        for number in range(10_000)
    ]
    payload = record_of(*many)
    assert len(payload) > 900_000
    with pytest.raises(errors.TooLarge, match="export the ranges before and after it"):
        exported(tmp_path, [Record(0, payload)])
