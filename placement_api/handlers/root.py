"""``/``: the versions of the API."""

from placement_api import versions
from placement_api.responses import json_response


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
    return json_response(request, {"versions": [version]})
