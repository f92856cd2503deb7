"""HTTP services of a cloud: requests whose faults are one sentence, repeated while the service is overloaded."""

import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from keystoneauth1 import adapter, discover, exceptions

from rpc_api import errors

# They warn of what an error says, too, and of connections that are not kept.
for _library in ("keystoneauth", "urllib3"):
    logging.getLogger(_library).setLevel(logging.ERROR)

#: Seconds after which a request without an answer has failed.
TIMEOUT = 60
#: How often a request is repeated if the service cannot be reached, or says that it is overloaded; seconds between.
RETRIES, RETRY_DELAY = 4, 0.5
#: Answers after which the same request may succeed.
PASSING = (429, 502, 503, 504)
#: Answers to a request that the service understands and does not do.
REFUSALS = (400, 404, 409)
#: Path of the versions. With the slash Nova also answers where the catalog has the project in its endpoint.
ROOT = "/"
#: Items that are asked for in one page. A service has a limit of its own ([api] max_limit), which may be lower.
PAGE = 1000
NAMES = {"placement": "Placement", "compute": "Nova"}
ACCOUNT = "check the account of the cloud (the variables OS_…, or clouds.yaml)"
SHOWN = 300


class Login(NamedTuple):
    """A keystoneauth1 session, and the region and the interface of the endpoints in the catalog (None: the first one,
    public)."""

    session: Any
    region: str | None = None
    interface: str | None = None


class Answer:
    """The status of an answer, its body (None if it has none), and the server that it names."""

    def __init__(self, status: int, body: Any, server: str = ""):
        self.status = status
        self.body = body
        self.server = server

    @property
    def detail(self) -> str:
        """What an error says, in one line."""
        found = self.body
        if isinstance(found, dict):
            faults = found.get("errors") or [fault for fault in found.values() if isinstance(fault, dict)]
            first = faults[0] if isinstance(faults, list) and faults and isinstance(faults[0], dict) else {}
            found = first.get("detail") or first.get("message") or found
        return " ".join(str(found).split())[:SHOWN].rstrip(".")

    @property
    def code(self) -> str:
        """The code of an error of Placement; empty if it has none."""
        faults = self.body.get("errors") if isinstance(self.body, dict) else None
        return str(faults[0].get("code", "")) if faults else ""


@contextmanager
def understood(kind: str) -> Iterator[None]:
    """Turn what happens when parts of an answer are missing or of another kind into a ServiceUnavailable: a program
    that is not the service may answer anything."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as fault:
        raise errors.ServiceUnavailable(
            f"{NAMES[kind]} answers in a form that is not known here ({type(fault).__name__}: {one_line(fault)}); is "
            f"it {NAMES[kind]}? If so, report it with its release"
        ) from fault


class Service:
    """A service of a cloud, ``placement`` or ``compute``, in the cloud of a Login: at ``endpoint``, or else where the
    catalog of Keystone says."""

    def __init__(self, kind: str, of: Login, endpoint: str | None = None):
        self.kind = kind
        self.name = NAMES[kind]
        self._adapter = adapter.Adapter(
            of.session,
            service_type=kind,
            interface=of.interface,
            region_name=of.region,
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
        request, headers = f"{method} {path}", {"Accept": "application/json"}
        if version:
            headers["OpenStack-API-Version"] = f"{self.kind} {version}"
        self._log_in()
        try:
            found = self._adapter.request(
                path, method, headers=headers, timeout=TIMEOUT, **({} if body is None else {"json": body})
            )
        except exceptions.EndpointNotFound:
            raise errors.ServiceUnavailable(
                f"{self.name} has no endpoint in the catalog of Keystone (interface, region); check OS_REGION_NAME and "
                "OS_INTERFACE, or name the endpoint by option"
            ) from None
        except exceptions.ConnectFailure as fault:
            raise self._fault(request, _unreachable(fault), "check its address, and whether it runs") from None
        except exceptions.ClientException as fault:
            raise self._fault(request, one_line(fault), ACCOUNT) from None
        answer = Answer(found.status_code, _body(found), found.headers.get("Server", ""))
        if answer.status < 300 or answer.status in wanted:
            if answer.status < 300 and method == "GET" and not isinstance(answer.body, dict):
                raise self._fault(request, "its answer is not a JSON object", f"is this {self.name}?")
            return answer
        what = f"it answers {answer.status}: {answer.detail}"
        remedy = {
            401: ACCOUNT,
            403: "use the account of an administrator",
            404: f"is this {self.name}?",
            406: f"a newer {self.name} is needed",
            429: "repeat the command when it has less to do",
        }.get(answer.status, "see its log, and repeat the command")
        raise self._fault(request, what, remedy)

    def listed(self, path: str, name: str, version: str) -> list[Any]:
        """The list ``name`` in the answer to a GET. ServiceUnavailable for an answer without it."""
        return self._list(path, name, self.ask("GET", path, version=version))

    def pages(self, path: str, name: str, version: str) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page: each page starts after the last item of the one before, until one is
        empty. A page may be shorter than asked for: the service has a limit of its own, and Nova leaves out
        hypervisors without a service. If the last item was deleted meanwhile, the one before it counts; an item may
        then come twice."""
        seen: list[str] = []
        start = f"{path}{'&' if '?' in path else '?'}limit={PAGE}"
        while True:
            asked = f"{start}&marker={seen[-1]}" if seen else start
            answer = self.ask("GET", asked, version=version, wanted=(400,) if seen else ())
            if answer.status == 400:
                # The service does not know the marker any more.
                seen.pop()
                continue
            page = self._list(asked, name, answer)
            if not page:
                return
            last = set(seen[-len(page) :])
            new = [item for item in page if item["id"] not in last]
            if not new:
                raise self._fault(f"GET {asked}", "its pages have no end", "see its log, and repeat the command")
            seen += [item["id"] for item in new]
            yield from new

    def _list(self, path: str, name: str, answer: Answer) -> list[Any]:
        found = answer.body.get(name)
        if not isinstance(found, list):
            raise errors.ServiceUnavailable(
                f"{self.name} answers GET {path} without {name}; is it {self.name}? Check its endpoint"
            )
        return found

    def newest_version(self) -> tuple[int, int]:
        """The newest microversion of the service."""
        body = self.ask("GET", ROOT).body
        versions = [body["version"]] if isinstance(body.get("version"), dict) else body.get("versions") or []
        texts = filter(None, map(_newest, versions))
        found = [number for number in map(discover.normalize_version_number, texts) if len(number) == 2]
        if not found:
            raise self._fault("GET /", "no microversion is in its answer", f"is this {self.name}?")
        return max(found)

    def _log_in(self) -> None:
        """Get a token first of all, so that an error of Keystone is not taken for one of the service."""
        try:
            self._adapter.get_token()
        except exceptions.Unauthorized:
            raise errors.ServiceUnavailable(f"Keystone refuses the account; {ACCOUNT}") from None
        except exceptions.ClientException as fault:
            raise errors.ServiceUnavailable(
                f"Keystone gives no token: {_unreachable(fault)}; {ACCOUNT}, and whether Keystone runs"
            ) from None

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
    text = " ".join(str(fault).split())
    why = re.search(r"\[Errno -?\d+\] ([\w ,.]+)|(timed out|certificate verify failed)", text)
    what = re.split(r": HTTPS?ConnectionPool|: \(", text)[0][:SHOWN].rstrip(".")
    return f"{what} ({why[1] or why[2]})" if why else what


def one_line(fault: Exception) -> str:
    """The text of a fault in one line."""
    return " ".join(str(fault).split())[:SHOWN].rstrip(".")
