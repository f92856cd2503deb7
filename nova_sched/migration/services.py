"""HTTP services of a cloud: sessions of keystoneauth1 from the variables of an openrc file, and requests whose faults
are one sentence."""

import logging
import os
import re
from collections.abc import Collection
from importlib import metadata
from typing import Any

from keystoneauth1 import adapter, discover, exceptions, loading, session

from rpc_api import errors

# They warn of what an error says, too, and of connections that are not kept.
for _library in ("keystoneauth", "urllib3"):
    logging.getLogger(_library).setLevel(logging.ERROR)

#: Seconds after which a request without an answer has failed.
TIMEOUT = 60
#: How often a request is repeated if the service cannot be reached, or says that it is overloaded; seconds between.
RETRIES, RETRY_DELAY = 4, 0.5
#: Answers after which the same request may succeed.
PASSING = (502, 503, 504)
#: Entry points of the plugins of keystoneauth1.
PLUGINS, PASSWORD = "keystoneauth1.plugin", "password"
SHOWN = 300


def session_of(environment: dict[str, str] | None = None) -> session.Session:
    """A session with the account that the variables ``OS_…`` name, as an openrc file sets them. UsageError for what is
    missing or wrong."""
    found = dict(os.environ) if environment is None else environment
    kind = found.get("OS_AUTH_TYPE") or PASSWORD
    if not metadata.entry_points(group=PLUGINS, name=kind):
        raise errors.UsageError(
            f"OS_AUTH_TYPE is {kind!r}, wanted a plugin of keystoneauth1 such as {PASSWORD}; fix it"
        )
    try:
        plugin = loading.get_plugin_loader(kind)
        account = plugin.load_from_options_getter(lambda option: _value(option, found))
    except (exceptions.ClientException, ValueError, TypeError) as fault:
        raise errors.UsageError(
            f"the account of the cloud is not complete: {_line(fault)}; set the variables OS_… as in an openrc file"
        ) from None
    is_insecure = found.get("OS_INSECURE", "").lower() in ("1", "true", "yes")
    verify: bool | str = False if is_insecure else found.get("OS_CACERT") or True
    return session.Session(auth=account, verify=verify, timeout=TIMEOUT, app_name="nova_sched")


def _value(option: Any, found: dict[str, str]) -> str | None:
    names = [option.dest, *(old.dest for old in option.deprecated)]
    return next((found[name] for name in (f"OS_{one.upper()}" for one in names) if found.get(name)), None)


class Answer:
    """The status of an answer, and its body (None if it has none)."""

    def __init__(self, status: int, body: Any):
        self.status = status
        self.body = body

    @property
    def detail(self) -> str:
        """What an error says, in one line."""
        found = self.body
        if isinstance(found, dict):
            faults = found.get("errors") or [one for one in found.values() if isinstance(one, dict)]
            first = faults[0] if faults else {}
            found = first.get("detail") or first.get("message") or found
        return " ".join(str(found).split())[:SHOWN].rstrip(".")

    @property
    def code(self) -> str:
        """The code of an error of Placement; empty if it has none."""
        faults = self.body.get("errors") if isinstance(self.body, dict) else None
        return str(faults[0].get("code", "")) if faults else ""


class Service:
    """A service of a cloud, such as ``placement``: at ``endpoint``, or else where the catalog of Keystone says."""

    def __init__(self, kind: str, of: session.Session, endpoint: str | None = None):
        self.kind = kind
        self.name = {"placement": "Placement", "compute": "Nova"}[kind]
        self._adapter = adapter.Adapter(
            of,
            service_type=kind,
            interface=os.environ.get("OS_INTERFACE") or None,
            region_name=os.environ.get("OS_REGION_NAME") or None,
            endpoint_override=endpoint,
            connect_retries=RETRIES,
            connect_retry_delay=RETRY_DELAY,
            status_code_retries=RETRIES,
            status_code_retry_delay=RETRY_DELAY,
            retriable_status_codes=PASSING,
            raise_exc=False,
        )
        self._where = endpoint or f"the {kind} endpoint of the catalog"

    def ask(self, method: str, path: str, body: Any = None, version: str = "", wanted: Collection[int] = ()) -> Answer:
        """The answer to a request of a microversion. ServiceUnavailable if there is none, or if its status is neither
        below 300 nor ``wanted``."""
        request, headers = f"{method} {path or '/'}", {"Accept": "application/json"}
        if version:
            headers["OpenStack-API-Version"] = f"{self.kind} {version}"
        try:
            found = self._adapter.request(path, method, headers=headers, **({} if body is None else {"json": body}))
        except exceptions.Unauthorized:
            raise self._fault(request, "Keystone refuses the account", "check the variables OS_…") from None
        except exceptions.EndpointNotFound:
            raise errors.ServiceUnavailable(
                f"{self.name} has no endpoint in the catalog of Keystone (interface, region); name it by option"
            ) from None
        except exceptions.ConnectFailure as fault:
            raise self._fault(request, _unreachable(fault), "check its address, and whether it runs") from None
        except exceptions.ClientException as fault:
            raise self._fault(request, _line(fault), "check the variables OS_…") from None
        answer = Answer(found.status_code, _body(found))
        if answer.status < 300 or answer.status in wanted:
            if answer.status < 300 and method == "GET" and not isinstance(answer.body, dict):
                raise self._fault(request, "its answer is not a JSON object", f"is this {self.name}?")
            return answer
        what = f"it answers {answer.status}: {answer.detail}"
        remedy = {
            401: "check the account in the variables OS_…",
            403: "use an account that may read and write everything, such as admin",
            404: f"is this {self.name}?",
            406: "wanted a newer release",
        }.get(answer.status, "see its log, and repeat the command")
        raise self._fault(request, what, remedy)

    def newest_version(self) -> tuple[int, int]:
        """The newest microversion of the service."""
        body = self.ask("GET", "").body
        versions = [body["version"]] if isinstance(body.get("version"), dict) else body.get("versions") or []
        texts = filter(None, map(_newest, versions))
        found = [number for number in map(discover.normalize_version_number, texts) if len(number) == 2]
        if not found:
            raise self._fault("GET /", "no microversion is in its answer", f"is this {self.name}?")
        return max(found)

    def _fault(self, request: str, what: str, remedy: str) -> errors.ServiceUnavailable:
        return errors.ServiceUnavailable(f"{self.name} at {self._where} did not do {request}: {what}; {remedy}")


def _newest(version: Any) -> str:
    return (version.get("max_version") or version.get("version") or "") if isinstance(version, dict) else ""


def _body(found: Any) -> Any:
    try:
        return found.json() if found.content else None
    except ValueError:
        return found.text


def _unreachable(fault: Exception) -> str:
    """What keystoneauth1 says of a connection, without the parts that requests and urllib3 quote in each other."""
    text = _line(fault)
    why = re.search(r"\[Errno -?\d+\] ([\w ,.]+)|(timed out|certificate verify failed)", text)
    return re.split(r": HTTPS?ConnectionPool|: \(", text)[0] + (f" ({why[1] or why[2]})" if why else "")


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:SHOWN].rstrip(".")
