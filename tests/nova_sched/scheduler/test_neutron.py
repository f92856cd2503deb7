"""Neutron and Keystone over HTTP: real servers on this machine that implement the calls that are used."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from oslo_config import cfg

from nova_sched.request.from_spec import request_from
from nova_sched.request.networks import MAX_NETWORKS, NotConfigured, Port, with_networks
from nova_sched.scheduler import config
from nova_sched.scheduler.endpoint import SchedulerEndpoint
from nova_sched.scheduler.neutron import Neutron, networks_of
from nova_sched.selection.policy import Policy
from rpc_api import errors
from rpc_api.nova_exception import NoValidHost, ServiceUnavailable
from rpc_api.objects.network import NetworkRequest, NetworkRequestList
from tests.builders import CONTEXT, request_spec, uuid_of
from tests.end_to_end.processes import config_text

NET, SUBNET, PORT, SEGMENT = (uuid_of(name) for name in ("net", "subnet", "port", "segment"))
PASSWORD = "the password of nova"


class Fakes:
    """Keystone and Neutron in one HTTP server: ``ports``, ``subnets`` and ``extensions`` are Neutron's; ``faults``
    give a path an answer of its own, (status, text); Neutron answers only while ``may_answer`` is set; ``link`` is the
    query of links to further pages."""

    def __init__(self):
        self.ports, self.subnets, self.faults, self.extensions = {}, {}, {}, ["segment"]
        self.link = None
        self.page, self.asked, self.logins = 100, [], 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.tokens = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fakes": self}))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def log_in(self, body):
        user = body["auth"]["identity"]["password"]["user"]
        if (user["name"], user["password"]) != ("nova", PASSWORD):
            return 401, {"error": {"message": "who are you"}}, {}
        self.logins += 1
        self.tokens.add(token := f"token-{self.logins}")
        endpoint = {"interface": "internal", "region": "one", "region_id": "one", "url": self.url, "id": "e"}
        return (
            201,
            {
                "token": {
                    "methods": ["password"],
                    "expires_at": "2099-01-01T00:00:00.000000Z",
                    "issued_at": "2026-01-01T00:00:00.000000Z",
                    "user": {"id": "u", "name": "nova", "domain": {"id": "default", "name": "Default"}},
                    "project": {"id": "p", "name": "service", "domain": {"id": "default", "name": "Default"}},
                    "catalog": [{"type": "network", "name": "neutron", "id": "s", "endpoints": [endpoint]}],
                }
            },
            {"X-Subject-Token": token},
        )

    def answer(self, path, query):
        if path == "/v2.0/extensions":
            return {"extensions": [{"alias": alias} for alias in self.extensions]}
        if path == "/v2.0/subnets":
            found = [subnet for subnet in self.subnets.values() if subnet["network_id"] == query["network_id"][0]]
            query_of_network = f"network_id={query['network_id'][0]}&fields=segment_id"
            start = int(query.get("marker", ["0"])[0])
            page = {"subnets": [{"segment_id": one.get("segment_id")} for one in found[start : start + self.page]]}
            if start + self.page < len(found):
                page["subnets_links"] = [
                    {
                        "rel": "next",
                        "href": f"{self.url}{path}?{self.link or query_of_network}&marker={start + self.page}",
                    }
                ]
            return page
        kind, _, key = path.removeprefix("/v2.0/").partition("/")
        found = {"ports": self.ports, "subnets": self.subnets}.get(kind, {}).get(key)
        return None if found is None else {kind[:-1]: found}


class _Handler(BaseHTTPRequestHandler):
    fakes = None

    def do_GET(self):
        parts = urlsplit(self.path)
        self.fakes.asked.append(parts.path)
        if parts.path in self.fakes.faults:
            status, text = self.fakes.faults[parts.path]
            return self._send(status, text)
        if parts.path == "/v3":
            return self._send(
                200,
                {
                    "version": {
                        "id": "v3.14",
                        "status": "stable",
                        "links": [{"rel": "self", "href": f"{self.fakes.url}/v3/"}],
                    }
                },
            )
        assert self.fakes.may_answer.wait(60)
        if self.headers.get("X-Auth-Token") not in self.fakes.tokens:
            return self._send(401, {"NeutronError": {"message": "no token"}})
        answer = self.fakes.answer(parts.path, parse_qs(parts.query))
        if answer is None:
            return self._send(404, {"NeutronError": {"message": "not found"}})
        return self._send(200, answer)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "/v3/auth/tokens" in self.fakes.faults:
            return self._send(*self.fakes.faults["/v3/auth/tokens"])
        return self._send(*self.fakes.log_in(body))

    def _send(self, status, body, headers=()):
        content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
            **dict(headers),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def fakes():
    made = Fakes()
    made.ports[PORT] = {"network_id": NET, "binding:vnic_type": "normal", "fixed_ips": []}
    made.subnets[SUBNET] = {"network_id": NET, "segment_id": SEGMENT}
    yield made
    made.close()


def conf_of(tmp_path, neutron=None, **scheduler):
    path = tmp_path / "a.conf"
    path.write_text(config_text({"scheduler": scheduler} | ({} if neutron is None else {"neutron": neutron})))
    conf = cfg.ConfigOpts()
    config.register(conf)
    conf([], default_config_files=[str(path)])
    return conf


def account(fakes, **options):
    return {
        "auth_type": "password",
        "auth_url": f"{fakes.url}/v3",
        "username": "nova",
        "password": PASSWORD,
        "user_domain_name": "Default",
        "project_name": "service",
        "project_domain_name": "Default",
        "http_retries": 0,
        "timeout": 30,
        **options,
    }


@pytest.fixture
def neutron(fakes, tmp_path):
    return networks_of(conf_of(tmp_path, account(fakes)), False)


def test_ports(fakes, neutron):
    assert isinstance(neutron, Neutron)
    assert neutron.port(PORT) == Port(None, NET, "normal")
    fakes.ports[PORT] = {
        "network_id": NET,
        "binding:vnic_type": "remote-managed",
        "fixed_ips": [{"subnet_id": SUBNET, "ip_address": "10.0.0.2"}, {"subnet_id": "other"}],
    }
    assert neutron.port(PORT) == Port(SUBNET, NET, "remote-managed")
    fakes.ports[PORT] = {"network_id": NET}
    assert neutron.port(PORT) == Port(None, NET, "normal")
    assert fakes.logins == 1, "one token for all of them"


def test_segments(fakes, neutron):
    assert neutron.segment_of_subnet(SUBNET) == SEGMENT
    assert neutron.segments_of_network(NET) == [SEGMENT]
    fakes.subnets["plain"] = {"network_id": NET, "segment_id": None}
    fakes.subnets["other"] = {"network_id": "other", "segment_id": uuid_of("s2")}
    assert neutron.segments_of_network(NET) == [SEGMENT] and neutron.segment_of_subnet("plain") is None
    assert neutron.segments_of_network("nowhere") == []
    assert fakes.asked.count("/v2.0/extensions") == 1, "asked again after extension_sync_interval only"


def test_subnets_in_pages(fakes, neutron):
    fakes.page = 3
    fakes.subnets = {str(number): {"network_id": NET, "segment_id": f"s{number}"} for number in range(10)}
    assert neutron.segments_of_network(NET) == [f"s{number}" for number in range(10)]


def test_without_the_extension_there_are_no_segments(fakes, neutron):
    fakes.extensions = []
    assert neutron.segments_of_network(NET) == [] and neutron.segment_of_subnet(SUBNET) is None
    assert fakes.asked.count("/v2.0/subnets") == 0


def test_extensions_are_asked_for_again(fakes, tmp_path):
    neutron = networks_of(conf_of(tmp_path, account(fakes, extension_sync_interval=0)), False)
    fakes.extensions = []
    assert neutron.segments_of_network(NET) == []
    fakes.extensions = ["segment"]
    assert neutron.segments_of_network(NET) == [SEGMENT]


def test_a_token_that_ran_out_is_renewed(fakes, neutron):
    neutron.port(PORT)
    fakes.tokens.clear()
    assert neutron.port(PORT).network_id == NET and fakes.logins == 2


def test_an_endpoint_of_ones_own(fakes, tmp_path):
    neutron = networks_of(conf_of(tmp_path, account(fakes, endpoint_override=f"{fakes.url}/")), False)
    assert neutron.port(PORT).network_id == NET


DEEP = "[" * 50_000 + "]" * 50_000
#: What Neutron or Keystone answer with, which is JSON and not what was asked for.
ODD = [
    (f"/v2.0/ports/{PORT}", text)
    for text in (
        DEEP,
        '{"port": {}}',
        '{"port": {"fixed_ips": []}}',
        '{"port": {"network_id": 7}}',
        *(
            f'{{"port": {{"network_id": "{NET}", {rest}}}}}'
            for rest in (
                '"fixed_ips": [1]',
                '"fixed_ips": 7',
                '"fixed_ips": {"a": 1}',
                '"fixed_ips": [{"subnet_id": []}]',
                '"binding:vnic_type": [1]',
            )
        ),
    )
]
ODD += [
    ("/v2.0/subnets", f'{{"subnets": [{{}}], {rest}}}')
    for rest in (
        '"subnets_links": 7',
        '"subnets_links": [1]',
        '"subnets_links": [{"rel": "next", "href": 7}]',
        '"subnets_links": [{"rel": "next", "href": "http://[bad"}]',
        '"subnets": [{"segment_id": {}}]',
    )
]
ODD += [
    ("/v2.0/extensions", '{"extensions": [{"alias": []}]}'),
    ("/v2.0/extensions", DEEP),
    ("/v3/auth/tokens", DEEP),
    ("/v3/auth/tokens", "null"),
]


@pytest.mark.parametrize("path, text", ODD)
def test_what_is_no_answer_is_told_of(fakes, neutron, path, text):
    """No requirement of a port is ignored."""
    fakes.faults[path] = (201 if path.startswith("/v3") else 200, text)
    with pytest.raises(errors.ServiceUnavailable, match="asked for the (port|network|list of its extensions)"):
        neutron.port(PORT) if "ports" in path else neutron.segments_of_network(NET)


@pytest.mark.parametrize("link", ["fields=segment_id", "network_id=other"])
def test_a_link_to_the_next_page_leads_to_no_other_network(fakes, neutron, link):
    fakes.page, fakes.link = 1, link
    fakes.subnets = {
        name: {"network_id": of, "segment_id": name}
        for name, of in (("s1", NET), ("s2", NET), ("s3", "other"), ("s4", "other"))
    }
    assert neutron.segments_of_network(NET) == ["s1", "s2"]


def test_a_port_that_is_half_a_character(neutron):
    with pytest.raises(errors.UsageError, match="Neutron knows no port"):
        neutron.port("\ud800")


#: path -> (status, text), the text of the error.
FAULTS = [
    (f"/v2.0/ports/{PORT}", 500, "", "could not be asked for the port .*InternalServerError, status 500"),
    (f"/v2.0/ports/{PORT}", 403, "{}", "could not be asked .*Forbidden, status 403"),
    (f"/v2.0/ports/{PORT}", 200, "<html>", "could not be asked .*JSONDecodeError"),
    (f"/v2.0/ports/{PORT}", 200, "[]", "Neutron's answer has no port"),
    (f"/v2.0/ports/{PORT}", 200, "{}", "Neutron's answer has no port"),
    ("/v3/auth/tokens", 401, "{}", "could not be asked .*Unauthorized, status 401"),
    ("/v3/auth/tokens", 404, "{}", "could not be asked .*NotFound"),
    ("/v3/auth/tokens", 503, "{}", "could not be asked .*503"),
]


@pytest.mark.parametrize("path, status, text, said", FAULTS)
def test_what_goes_wrong_is_said_without_addresses_and_passwords(fakes, neutron, path, status, text, said):
    fakes.faults[path] = (status, text)
    with pytest.raises(errors.ServiceUnavailable, match=said) as refused:
        neutron.port(PORT)
    assert "127.0.0.1" not in str(refused.value) and PASSWORD not in str(refused.value)


@pytest.mark.parametrize("answer", ["[]", "{}", '{"subnets": {}}', '{"subnets": ["x"]}'])
def test_subnets_that_make_no_sense(fakes, neutron, answer):
    fakes.faults["/v2.0/subnets"] = (200, answer)
    with pytest.raises(errors.ServiceUnavailable, match="Neutron('s answer has| answered)"):
        neutron.segments_of_network(NET)


def test_pages_without_end(fakes, neutron):
    fakes.faults["/v2.0/subnets"] = (
        200,
        json.dumps({"subnets": [], "subnets_links": [{"rel": "next", "href": f"{fakes.url}/v2.0/subnets?marker=1"}]}),
    )
    with pytest.raises(errors.ServiceUnavailable, match="pages of subnets"):
        neutron.segments_of_network(NET)


def test_what_neutron_does_not_know(neutron):
    with pytest.raises(errors.UsageError, match="Neutron knows no port nowhere"):
        neutron.port("nowhere")
    with pytest.raises(errors.UsageError, match="Neutron knows no port"):
        neutron.port("../subnets")


def test_a_neutron_that_hangs_is_given_up(fakes, tmp_path):
    neutron = networks_of(conf_of(tmp_path, account(fakes, timeout=1)), False)
    neutron.port(PORT)
    fakes.may_answer.clear()
    with pytest.raises(errors.ServiceUnavailable, match="ConnectTimeout|ReadTimeout|Timeout"):
        neutron.port(PORT)
    fakes.may_answer.set()


def test_a_neutron_that_is_away(fakes, tmp_path):
    fakes.close()
    with pytest.raises(errors.ServiceUnavailable, match="could not be asked for the port"):
        networks_of(conf_of(tmp_path, account(fakes)), False).port(PORT)


# --- configuration --------------------------------------------------------------------------------------------------


def test_without_an_account_nobody_is_asked(tmp_path):
    for neutron in (None, {}, {"http_retries": 1}):
        assert isinstance(networks_of(conf_of(tmp_path, neutron), False), NotConfigured)
        with pytest.raises(
            errors.UsageError, match=r"routed_network_aggregates is set and \[neutron\] auth_type is not"
        ):
            networks_of(conf_of(tmp_path, neutron), True)


@pytest.mark.parametrize(
    "options",
    [
        {"auth_type": "nothing"},
        {"auth_type": "password"},
        {"auth_type": "password", "auth_url": "http://127.0.0.1:1/v3", "username": "nova"},
        {"timeout": "soon"},
    ],
)
def test_a_wrong_account_is_found_at_the_start(fakes, tmp_path, options):
    neutron = account(fakes) | options if len(options) == 1 and "timeout" in options else options
    with pytest.raises(errors.UsageError, match=r"\[neutron\] is wrong: "):
        networks_of(conf_of(tmp_path, neutron), False)


def test_options_of_nova(fakes, tmp_path):
    conf = conf_of(tmp_path, account(fakes))
    assert (conf.neutron.http_retries, conf.neutron.extension_sync_interval) == (0, 600)
    networks_of(conf, False)
    assert (conf.neutron.service_type, conf.neutron.valid_interfaces) == ("network", ["internal", "public"])
    assert conf.neutron.timeout == 30


def test_keystone_is_not_imported_where_it_is_not_needed():
    code = "import sys, nova_sched.scheduler.app; sys.exit('keystoneauth1' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0


# --- what a request gets of it --------------------------------------------------------------------------------------


class Asked(NotConfigured):
    """Answers from dictionaries, and counts."""

    def __init__(self, ports=(), networks=(), subnets=()):
        self.ports, self.networks, self.subnets, self.count = dict(ports), dict(networks), dict(subnets), 0

    def port(self, port_id):
        self.count += 1
        return self.ports[port_id]

    def segments_of_network(self, network_id):
        self.count += 1
        return self.networks[network_id]

    def segment_of_subnet(self, subnet_id):
        self.count += 1
        return self.subnets[subnet_id]


def with_networks_of(*wanted, networks, routed=True, **hints):
    made = request_spec(uuid_of("vm"))
    made.requested_networks = NetworkRequestList(objects=[NetworkRequest(**one) for one in wanted])
    made.scheduler_hints = hints
    return with_networks(request_from(made, "req-1"), made, networks, routed)


P1, P2 = Port("sub", NET, "normal"), Port(None, NET, "remote-managed")
REQUESTS = [
    # networks and ports, Neutron, whether segments are asked for, segments, root_required, questions
    ([], {}, True, (), (), 0),
    ([{"network_id": NET}], {"networks": {NET: ["b", "a", "b"]}}, True, (("a", "b"),), (), 1),
    ([{"network_id": NET}], {}, False, (), (), 0),
    ([{"network_id": NET}], {"networks": {NET: []}}, True, (), (), 1),
    ([{"network_id": "auto"}, {"network_id": "none"}, {"tag": "x"}], {}, True, (), (), 0),
    ([{"port_id": PORT}], {"ports": {PORT: P1}, "subnets": {"sub": "a"}}, True, (("a",),), (), 2),
    ([{"port_id": PORT}], {"ports": {PORT: P1}, "subnets": {"sub": None}}, True, (), (), 2),
    (
        [{"port_id": PORT, "network_id": "other"}],
        {"ports": {PORT: P2}, "networks": {NET: ["a"]}},
        True,
        (("a",),),
        ("COMPUTE_REMOTE_MANAGED_PORTS",),
        2,
    ),
    ([{"port_id": PORT}], {"ports": {PORT: P2}}, False, (), ("COMPUTE_REMOTE_MANAGED_PORTS",), 1),
    (
        [{"network_id": NET}, {"port_id": PORT}, {"network_id": NET}],
        {"networks": {NET: ["a", "b"]}, "ports": {PORT: P1}, "subnets": {"sub": "c"}},
        True,
        (("a", "b"), ("c",)),
        (),
        4,
    ),
]


@pytest.mark.parametrize("wanted, answers, routed, segments, required, questions", REQUESTS)
def test_what_a_request_gets_of_it(wanted, answers, routed, segments, required, questions):
    networks = Asked(**answers)
    request = with_networks_of(*wanted, networks=networks, routed=routed)
    assert (request.segments, request.root_required, networks.count) == (segments, required, questions)


def test_a_rebuild_asks_nobody():
    request = with_networks_of({"port_id": PORT}, networks=Asked(), _nova_check_type=["rebuild"])
    assert request.check_only and request.segments == ()


def test_too_many_networks():
    with pytest.raises(errors.UsageError, match=f"names {MAX_NETWORKS + 1} networks and ports"):
        with_networks_of(*[{"network_id": NET}] * (MAX_NETWORKS + 1), networks=Asked())


class Decided:
    """Stands where a Scheduler does, up to where a request is queued."""

    def __init__(self, policy):
        self.engine = type("Engine", (), {"policy": policy})
        self.cells, self.requests, self.refused = {}, [], []

    def refuse(self, request_id, uuids, reason):
        self.refused.append(reason)

    def select(self, request, uuids, alternates):
        from concurrent.futures import Future

        self.requests.append(request)
        return Future()


def select(policy, networks, *wanted):
    decided, made = Decided(policy), request_spec(uuid_of("vm"))
    made.requested_networks = NetworkRequestList(objects=[NetworkRequest(**one) for one in wanted])
    return decided, SchedulerEndpoint(decided, networks).select_destinations(CONTEXT, spec_obj=made)


def test_the_endpoint_asks_before_it_queues(neutron):
    routed = Policy(query_placement_for_routed_network_aggregates=True)
    decided, _ = select(routed, neutron, {"network_id": NET})
    assert decided.requests[0].segments == ((SEGMENT,),)
    decided, _ = select(Policy(), neutron, {"network_id": NET}, {"port_id": PORT})
    assert decided.requests[0].segments == ()


@pytest.mark.parametrize(
    "wanted, said",
    [
        ({"port_id": PORT}, r"the port .*its kind .* configure \[neutron\]"),
        ({"network_id": NET}, r"the network .* query_placement_for_routed_network_aggregates .* configure \[neutron\]"),
    ],
)
def test_a_request_that_needs_it_where_it_is_not_configured(wanted, said):
    decided, answered = select(Policy(query_placement_for_routed_network_aggregates=True), None, wanted)
    with pytest.raises(NoValidHost, match=said):
        answered.result(20)
    assert decided.requests == [] and len(decided.refused) == 1


def test_a_neutron_that_fails_is_an_answer(fakes, neutron):
    fakes.faults[f"/v2.0/ports/{PORT}"] = (500, "")
    _, answered = select(Policy(), neutron, {"port_id": PORT})
    with pytest.raises(ServiceUnavailable, match="Neutron could not be asked for the port"):
        answered.result(20)
