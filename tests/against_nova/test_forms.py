"""Requests in older forms: what the real nova 34 makes of each, and what we do."""

import itertools

import pytest

from nova_sched.request.from_spec import image_properties
from rpc_api import errors
from rpc_api.objects import base
from rpc_api.objects.image_meta import OLD_NAMES, ImageMetaProps, with_current_names
from tests.against_nova.conftest import running_peer
from tests.builders import uuid_of
from tests.end_to_end.every_field import UNSET, older, older_forms, whole
from tests.nova_sched.selection.test_older_forms import NODE_ROWS, TOPOLOGY, node_as, read

pytestmark = pytest.mark.nova

#: What nova places, and we do not: it would float the CPUs of a guest whose flavor wants them pinned.
STRICTER = {("InstanceNUMACell", minor) for minor in range(3)}
#: What nova's scheduler cannot read: its conductor loads the group again, with one policy.
CONVERTED = {("InstanceGroup", minor) for minor in range(11)}


@pytest.fixture(scope="module")
def forms():
    yield from running_peer("nova", "nova_forms.py")


def ours(primitive):
    """What nova's peer answers, of our reading; None where it is refused."""
    try:
        request = read(primitive)
    except errors.NovaSchedError:
        return None
    cells = request.numa.cells if request.numa else ()
    return {
        "groups": {
            group.suffix: {resource.resource_class: resource.amount for resource in group.resources}
            for group in request.groups
        },
        "cpus": _cpus(cells),
        "forbidden": list(request.root_forbidden),
        "cell": request.target_cell,
    }


def _cpus(cells):
    return [
        sum(len(cell.dedicated_cpus) for cell in cells),
        sum(0 if cell.cpu_policy == "dedicated" else len(cell.shared_cpus) for cell in cells),
    ]


@pytest.mark.parametrize("name, minor", [("RequestSpec", 15), *older_forms()])
def test_an_older_form_means_what_nova_makes_of_it(forms, name, minor):
    form = older(name, minor)
    if (name, minor) in CONVERTED:
        assert "unable to load policy" in forms.ask("meaning", form)["message"]
        assert ours(form) == ours(whole())
        return
    answer = forms.ask("meaning", form).get("answer")
    if (name, minor) in STRICTER:
        assert answer["cpus"] == [0, 2] and answer["groups"][""]["PCPU"] == 2 and ours(form) is None
        return
    if answer is not None:
        del answer["group"]
    assert ours(form) == answer


def test_the_cpus_of_nodes_in_all_forms(forms):
    rows = list(
        itertools.product(range(7), (None, "shared", "dedicated", "mixed"), (UNSET, [], [0, 1, 2]), (UNSET, [], [0, 1]))
    ) + [row[:4] for row in NODE_ROWS]
    answers = forms.ask_all([("cpus_of", topology_of(node_as(*row))) for row in rows])
    different = []
    for row, answer in zip(rows, answers, strict=True):
        made = ours(node_as(*row))
        wanted = answer.get("answer")
        if (made is None and "error" in answer) or (wanted is None and "answer" in answer):
            continue  # Both refuse; or nova finds no place for a node of no CPUs.
        if made is None or made["cpus"] != wanted:
            different.append((row, answer, made and made["cpus"]))
    assert not [one for one in different if not unsafe(*one)]
    assert all(made is None for _, _, made in different)


def unsafe(row, answer, made):
    """A node that is neither: a set of pinned CPUs that its version does not have, which nova reads as none."""
    minor, policy, shared, pinned = row
    return policy == "dedicated" and minor < 4 and shared == [0, 1, 2] and pinned == []


def topology_of(form):
    data, name = TOPOLOGY
    return form[data][name]


def test_the_filters_of_groups_need_no_uuid(forms):
    """Of anti-affinity nova reads policy, members and rules; of affinity policies and hosts."""
    member, running = uuid_of("member"), {"a": [uuid_of("member")], "b": []}
    for policy, wanted in (("anti-affinity", ["b"]), ("affinity", ["a"])):
        group = {
            base.NAME: "InstanceGroup",
            base.NAMESPACE: "nova",
            base.VERSION: "1.11",
            base.DATA: {"policy": policy, "policies": [policy], "members": [member], "hosts": ["a"], "_rules": {}},
        }
        assert forms.ask("group_hosts", group, uuid_of("instance"), running) == {"answer": wanted}


def test_old_names_of_image_properties_are_novas(forms):
    assert forms.ask("old_names") == {"answer": OLD_NAMES}


@pytest.mark.parametrize(
    "kept",
    [
        {"vmware_adaptertype": "ide"},
        {"vmware_adaptertype": "lsiLogic"},
        {"vmware_adaptertype": ""},
        {"vmware_adaptertype": "paraVirtual", "hw_scsi_model": "virtio-scsi"},
        {"architecture": "i386", "hw_architecture": "amd64"},
        {"vm_mode": "pv", "hypervisor_type": "xapi"},
    ],
)
def test_old_properties_mean_what_nova_makes_of_them(forms, kept):
    properties = ImageMetaProps()
    for name, value in with_current_names(kept).items():
        if name in properties.fields:
            setattr(properties, name, value)
    assert forms.ask("image_of", kept) == {"answer": image_properties(properties)}
