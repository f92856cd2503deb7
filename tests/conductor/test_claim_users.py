"""The user of a claim on its way through a conductor, between services of two releases."""

import pytest

from conductor.build import Call, call_agent
from rpc_api import messages
from rpc_api.events.primitive import VERSION, to_primitive
from tests.builders import claim, uuid_of


class Agents:
    """The client of agents, which keeps what is sent."""

    def __init__(self):
        self.sent = []

    def build_instance(self, context, server, claim, timeout):
        self.sent.append(claim)

    def cancel_build(self, context, server, host, claim_uuid, instance_uuid, timeout):
        self.sent.append((host, claim_uuid, instance_uuid))


def test_an_agent_of_the_release_before_reads_the_claim():
    """Agents may stay at the release before after the pin."""
    agents, mine = Agents(), claim("vm", "a")
    call_agent(agents, None, Call("build_instance", "server", mine._replace(user_id="u")), 1.0)
    assert agents.sent == [mine]
    call_agent(agents, None, Call("cancel_build", "server", mine._replace(user_id="u")), 1.0)
    assert agents.sent[1] == ("a", mine.claim_uuid, mine.instance_uuid)


@pytest.mark.parametrize(
    "newer, build, inner",
    [({}, "1.2", "1.1"), ({"consumer_generation": 2}, "1.4", "1.3"), ({"user_id": "u"}, "1.5", "1.4")],
)
def test_a_build_has_the_oldest_form_that_holds_it(newer, build, inner):
    """A conductor of the release before builds as long as the log of its cell is below level 4."""
    claims = (claim("vm", "a")._replace(**newer), claim("vm", "b"))
    sent = to_primitive(messages.BuildRequest(uuid_of("vm"), "req-1", claims, 3, 7))
    data = sent["nova_sched_object.data"]
    assert sent[VERSION] == build and {one[VERSION] for one in data["claims"]} == {inner}
