"""Neutron over HTTP, with the account of ``[neutron]``: keystoneauth1's options, under Nova's names.

keystoneauth1 is imported only if ``[neutron]`` is configured, because the import
takes a quarter of a second.
"""

from urllib.parse import parse_qsl, quote, urlsplit

from oslo_config import cfg

from nova_sched.process.keystone_options import check_login
from nova_sched.request.networks import Networks, NotConfigured, Port
from rpc_api import errors
from rpc_api.clock import SYSTEM

GROUP = cfg.OptGroup("neutron", "Neutron, where the scheduler asks for ports and segments of networks")
OPTS = [
    cfg.IntOpt("http_retries", default=3, min=0, help="How often a connection to Neutron that fails is tried again."),
    cfg.IntOpt(
        "extension_sync_interval",
        default=600,
        min=0,
        help="Seconds after which Neutron is asked again which extensions it has.",
    ),
]
#: Without a timeout, a Neutron that hangs would block a request for as long as its conductor waits.
TIMEOUT_DEFAULT = 10
#: A Neutron that sends more pages of subnets of one network is faulty.
MAX_PAGES = 1000
VNIC_NORMAL = "normal"


def keystone_opts():
    """Options of keystoneauth1 in ``[neutron]``: how to reach Keystone and Neutron."""
    from keystoneauth1 import loading

    options = [
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]
    cfg.set_defaults(options, timeout=TIMEOUT_DEFAULT, service_type="network", valid_interfaces=["internal", "public"])
    return options


def list_opts():
    """Return all options of ``[neutron]`` for oslo-config-generator, with those of password authentication."""
    from keystoneauth1 import loading

    return [(GROUP, [*OPTS, *keystone_opts(), *loading.get_auth_plugin_conf_options("password")])]


def networks_of(conf, wanted: bool) -> Networks:
    """Return the source of networks for a scheduler; UsageError if ``[neutron]`` is wrong, or missing and
    ``wanted``."""
    if GROUP.name in conf.list_all_sections():
        found = _configured(conf)
        if found is not None:
            return found
    if wanted:
        raise errors.UsageError(
            "[scheduler] query_placement_for_routed_network_aggregates is set and [neutron] "
            "auth_type is not, wanted an account to ask Neutron with; configure [neutron], "
            "or unset the option"
        )
    return NotConfigured()


def _configured(conf):
    from keystoneauth1 import exceptions, loading

    conf.register_opts(keystone_opts(), GROUP.name)
    try:
        account = loading.load_auth_from_conf_options(conf, GROUP.name)
        if account is None:
            return None
        check_login(account)
        session = loading.load_session_from_conf_options(conf, GROUP.name, auth=account)
        adapter = loading.load_adapter_from_conf_options(
            conf, GROUP.name, session=session, connect_retries=conf.neutron.http_retries
        )
    except (exceptions.ClientException, cfg.Error, ValueError, TypeError) as fault:
        raise errors.UsageError(f"[neutron] is wrong: {' '.join(str(fault).split()).rstrip('.')}; fix it") from None
    return Neutron(adapter, conf.neutron.extension_sync_interval)


class Neutron(Networks):
    """``adapter`` is keystoneauth1's, with the account and the endpoint of Neutron."""

    def __init__(self, adapter, extension_sync_interval: float = 600, clock=SYSTEM):
        self._adapter = adapter
        self._interval = extension_sync_interval
        self._clock = clock
        #: (when they were asked for, aliases of the extensions); never changed in place, as many threads read it.
        self._extensions = None

    def port(self, port_id):
        what = f"port {port_id}"
        found = self._get(f"/v2.0/ports/{_quoted(port_id)}", what, "port")
        network_id = _text_of(found, "network_id", what)
        if not network_id:
            # Without this extension it is not known which hosts can have the port.
            raise _wrong("without network_id", what)
        first = (_list_of(found, "fixed_ips", what) if found.get("fixed_ips") else [{}])[0]
        return Port(
            _text_of(first, "subnet_id", what), network_id, _text_of(found, "binding:vnic_type", what) or VNIC_NORMAL
        )

    def segments_of_network(self, network_id):
        # Only the subnets show whether a segment belongs to a routed network or to a provider network.
        return [segment for segment in self._segments_of_subnets(network_id) if segment] if self._has_segments() else []

    def segment_of_subnet(self, subnet_id):
        if not self._has_segments():
            return None
        what = f"subnet {subnet_id}"
        return _text_of(self._get(f"/v2.0/subnets/{_quoted(subnet_id)}", what, "subnet"), "segment_id", what)

    def _segments_of_subnets(self, network_id):
        what, asked = f"network {network_id}", {"network_id": network_id, "fields": "segment_id"}
        params = asked
        for _ in range(MAX_PAGES):
            page = self._get("/v2.0/subnets", what, **params)
            yield from (_text_of(subnet, "segment_id", what) for subnet in _list_of(page, "subnets", what))
            links = _list_of(page, "subnets_links", what) if page.get("subnets_links") else []
            following = next((link for link in links if link.get("rel") == "next"), None)
            if following is None:
                return
            # Even if the link is wrong, only subnets of this network are asked for.
            params = {**_query_of(_text_of(following, "href", what), what), **asked}
        raise errors.ServiceUnavailable(
            f"Neutron has more than {MAX_PAGES} pages of subnets of the {what}; see its log"
        )

    def _has_segments(self):
        now, known = self._clock.monotonic(), self._extensions
        if known is None or now - known[0] >= self._interval:
            what = "list of its extensions"
            found = _list_of(self._get("/v2.0/extensions", what), "extensions", what)
            self._extensions = known = (now, {_text_of(extension, "alias", what) for extension in found})
        return "segment" in known[1]

    def _get(self, path, what, name=None, **params):
        """Return the JSON object of an answer, or the object ``name`` in it."""
        from keystoneauth1 import exceptions

        try:
            answer = self._adapter.get(path, params=params).json()
        except exceptions.NotFound as fault:
            if path in (fault.url or ""):
                raise errors.UsageError(f"Neutron knows no {what}; name an existing one") from None
            raise _unavailable(what, fault) from None
        except Exception as fault:
            # Besides its own errors keystoneauth1 raises any error that an unexpected answer causes.
            raise _unavailable(what, fault) from None
        found = answer.get(name) if name and isinstance(answer, dict) else answer
        if not isinstance(found, dict):
            raise errors.ServiceUnavailable(
                f"Neutron's answer has no {name or 'JSON object'} when it was asked "
                f"for the {what}; check that [neutron] leads to Neutron"
            )
        return found


def _list_of(answer, name, what):
    found = answer.get(name)
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise _wrong(f"without {name}", what)
    return found


def _text_of(answer, name, what):
    """Return a text in an answer; None if it is empty or missing."""
    found = answer.get(name)
    if found is not None and not isinstance(found, str):
        raise _wrong(f"with a {name} that is not a text", what)
    return found or None


def _query_of(link, what):
    try:
        return dict(parse_qsl(urlsplit(link or "").query))
    except ValueError:
        raise _wrong("with a link that is not valid", what) from None


def _quoted(key):
    return quote(key, safe="", errors="replace")


def _wrong(how, what):
    return errors.ServiceUnavailable(f"Neutron answered {how} when it was asked for the {what}; see its log")


def _unavailable(what, fault):
    # Not the text of the fault: it may contain addresses, and users read this.
    status = getattr(fault, "http_status", None)
    return errors.ServiceUnavailable(
        f"Neutron could not be asked for the {what} ({type(fault).__name__}{f', status {status}' if status else ''}); "
        "check [neutron], Keystone and Neutron"
    )
