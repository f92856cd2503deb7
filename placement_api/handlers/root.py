"""``/``: the versions of the API."""

from placement_api import versions
from placement_api.responses import json_response

#: The header Server of this answer.
SERVER = "nova_sched"


def show_versions(request):
    """The only version, with the microversions that it has."""
    version = {
        "id": f"v{versions.VERSIONS[0]}",
        "max_version": versions.VERSIONS[-1],
        "min_version": versions.VERSIONS[0],
        "status": "CURRENT",
        # This same address: a proxy may serve it under another name.
        "links": [{"rel": "self", "href": ""}],
    }
    response = json_response(request, {"versions": [version]})
    # nova-sched import and compare must not take it for the stock Placement.
    response.headers["Server"] = SERVER
    return response
