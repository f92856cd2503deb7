"""The page as a running server."""

import ipaddress

from nova_sched.page.app import Application, Page
from nova_sched.page.asked import BODY_MAX
from nova_sched.process.web.serving import serve, stop
from rpc_api import concurrency, errors

#: Names of this machine that no other machine can mean.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


class RunningPage:
    """A Page that answers on an address and port (0: a free one). UsageError if it cannot listen there."""

    def __init__(self, page: Page, host: str, port: int):
        self._page = page
        options = page.options
        application = Application(page)
        try:
            # A thread for each browser that waits for news, and those that answer the others.
            threads = options.threads + options.waiting
            self._server = serve(application, host, port, threads, options.connections, BODY_MAX, "page", True)
        except OSError:
            raise errors.UsageError(
                f"the page cannot listen on {host}:{port}; choose another --port, or end what listens there"
            ) from None
        application.use_hosts(own_hosts(options, page.keystone is not None, self._server.addresses))
        self._thread = concurrency.vital_thread(self._server.run, "web server")

    @property
    def urls(self) -> list[str]:
        """The URL of each address on which it listens."""
        return [f"http://{_in_url(host)}:{port}/" for host, port in self._server.addresses]

    def start(self) -> "RunningPage":
        """Begin to read the logs, and to answer."""
        self._page.cloud.start()
        self._thread.start()
        return self

    def stop(self, timeout: float = 5.0) -> bool:
        """End; returns whether all requests were answered."""
        self._page.what_ifs.stop()
        # Requests that wait for news are answered at once.
        self._page.cloud.stop()
        self._page.cloud.happenings.close()
        return stop(self._server, self._thread, timeout)


def own_hosts(options, has_login: bool, addresses) -> list[str]:
    """Return the values of the header Host that the page answers; none: any."""
    if options.allowed_hosts:
        return list(options.allowed_hosts)
    if has_login:
        return []
    ports = {port for _, port in addresses}
    names = {*LOOPBACK_NAMES, *(_in_url(host) for host, _ in addresses)}
    return [f"{name}:{port}" for name in names for port in ports] + [name for name in names if 80 in ports]


def _in_url(host: str) -> str:
    try:
        return f"[{host}]" if ipaddress.ip_address(host).version == 6 else host
    except ValueError:
        return host
