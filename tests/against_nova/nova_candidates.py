"""The real nova asks the real Placement for allocation candidates of a RequestSpec, and claims with an
allocation_request.

Run by the peer's own Python, beneath :mod:`tests.against_nova.peer_loop`. Imports nothing of this project.
"""

import json
import uuid

import nova.conf
import placement_peer
import webob
from nova import context as nova_context
from nova import objects
from nova.scheduler import utils
from placement import deploy

nova.conf.CONF([], default_config_files=[])
objects.register_all()
placement_peer.CONF.set_override("auth_strategy", "noauth2", "api")
APP = deploy.loadapp(placement_peer.CONF)
HEADERS = {"X-Auth-Token": "admin", "OpenStack-API-Version": "placement 1.36", "Content-Type": "application/json"}

load = placement_peer.load


def _call(path, **request):
    return webob.Request.blank(path, headers=HEADERS, **request).get_response(APP)


def candidates(primitive):
    """The allocation_requests that nova's scheduler gets of Placement for a RequestSpec, in Placement's JSON; and the
    text of Placement's error where it answers one."""
    spec = objects.RequestSpec.obj_from_primitive(primitive)
    found, errors = [], []
    for pinning in (True, False):
        asked = utils.resources_from_request_spec(
            nova_context.get_admin_context(), spec, None, enable_pinning_translate=pinning
        )
        asked._limit = None
        answer = _call(f"/allocation_candidates?{asked.to_querystring()}")
        if answer.status_int == 200:
            found += answer.json["allocation_requests"]
        else:
            errors.append(answer.text)
        if not asked.cpu_pinning_requested:
            break
    return {"candidates": found, "errors": errors}


def claim(allocation_request, version):
    """The status with which Placement answers a claim of a new consumer, as nova puts it, and its text."""
    body = {**json.loads(allocation_request), "project_id": "p", "user_id": "u", "consumer_generation": None}
    consumer = str(uuid.uuid4())
    answer = _call(f"/allocations/{consumer}", method="PUT", body=json.dumps(body).encode())
    if answer.status_int == 204:
        _call(f"/allocations/{consumer}", method="DELETE")
    return answer.status_int, answer.text


def mapped(primitive, allocation_request):
    """Requester -> providers, as nova's conductor takes them from a selection of a RequestSpec."""
    spec = objects.RequestSpec.obj_from_primitive(primitive)
    utils.fill_provider_mapping(spec, objects.Selection(allocation_request=allocation_request))
    return spec.get_request_group_mapping()


#: What is asked by :mod:`tests.against_nova.peer_loop`.
ASKS = (load, candidates, claim, mapped)
