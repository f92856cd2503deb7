"""Build a server through the API conductor of a cloud without Nova, and print its host. It runs in the tree."""

import sys
import uuid

from rpc_api import concurrency

concurrency.setup()

from nova_sched.cli import command_config  # noqa: E402
from nova_sched.playground.specs import bare_spec, flavor_of  # noqa: E402
from rpc_api import config, messages  # noqa: E402
from rpc_api.contracts.conductor import ConductorAPI  # noqa: E402
from rpc_api.objects.context import RequestContext  # noqa: E402

SECONDS_MAX = 60.0


def main():
    """Build one, and print its uuid and its host."""
    buses = config.Buses(command_config.read([], "nova-sched"))
    try:
        instance = str(uuid.uuid4())
        context = RequestContext.from_dict(
            {"request_id": f"req-{uuid.uuid4()}", "project_id": "p", "user_id": "u", "is_admin": True}
        )
        spec = bare_spec(instance, "p", flavor_of("small", vcpus=1, memory_mb=512))
        answer = ConductorAPI(buses.top()).schedule_and_build_instances(context, spec, [instance])
        (outcome,) = answer.result(SECONDS_MAX)
        print(instance, outcome.host, outcome.outcome)
        return 0 if outcome.outcome == messages.BUILT else 1
    finally:
        buses.close()


if __name__ == "__main__":
    sys.exit(main())
