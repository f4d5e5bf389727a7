# SPDX-License-Identifier: Apache-2.0
"""Guards of the web display: which requests are answered, and whose commands are taken.

How many pages and commands: web_server.py and web_page_queue.py. On which address: `host` in
nodes/display_node.py.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

from aiohttp import web

HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
HERE = "this machine"  # where a request comes from
MALFORMED = "a malformed request was answered with 400 (Bad Request)"
PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


class RequestGuard:
    """Checks the headers of requests; counts and reports those that it turns away."""

    def __init__(
        self,
        operators: str,
        names: Iterable[str],
        counts: dict[str, int],
        on_problem: Callable[[str], None],
    ) -> None:
        """`operators`: whose commands are taken: of "local" (this machine), "all" or "none";
        `names`: host names, besides this machine's own, under which pages may ask for it;
        `counts`: its "refused" and "malformed" are counted up."""
        self._operators = operators
        self._names = {"localhost", socket.gethostname().lower(), *(n.lower() for n in names)}
        self._counts, self._on_problem = counts, on_problem

    def check(self, request: web.Request) -> str:
        """Returns the Host header, which names this machine; raises an HTTP error otherwise.

        Any address will do. A foreign name that leads here will not: a page elsewhere could have
        pointed its own name to this machine (DNS rebinding).
        """
        hosts = request.headers.getall("Host", [])
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            raise self.malformed("there is one Host header, a name or an address")
        try:
            ipaddress.ip_address(name)
        except ValueError:
            if not {name, name.removesuffix(".local")} & self._names:
                self._on_problem(
                    f"a page was asked for under the name '{name}', which is not this machine's: "
                    "if it is, add it to host_names"
                )
                raise self._refused(f"host {name}") from None
        return hosts[0]

    def check_socket(self, request: web.Request) -> None:
        """Lets only pages of this server open a WebSocket; raises an HTTP error otherwise."""
        host = self.check(request)
        origins = request.headers.getall("Origin", [])
        origin = origins[0] if origins else "null"
        address = origin.partition("://")[2]
        if len(origins) > 1 or (origin != "null" and host_name(address) is None):
            raise self.malformed("there is one Origin header, an address")
        if address != host:
            self._on_problem(
                "a page of another origin was refused (a proxy must pass the Host header on)"
            )
            raise self._refused(f"origin {origin}")
        if "Sec-WebSocket-Protocol" in request.headers:  # aiohttp would log its value
            raise self.malformed("no subprotocol is spoken here")
        asked = [request.headers.get(name, "").lower() for name in ("Upgrade", "Connection")]
        if asked[0] != "websocket" or "upgrade" not in asked[1]:
            raise self.malformed(
                "a page's WebSocket is asked for here",
                "a WebSocket was asked for without the headers Upgrade and Connection, and "
                "answered with 400 (a proxy must pass both on)",
            )

    def takes_commands_from(self, request: web.Request) -> bool:
        """Whether commands from where this request comes from are taken."""
        return self._operators == "all" or (self._operators == "local" and is_local(request))

    def malformed(self, reason: str = "", problem: str = MALFORMED) -> web.HTTPException:
        """Counts a request that cannot be read, and reports `problem`. Returns its answer."""
        self._counts["malformed"] += 1
        self._on_problem(problem)
        return _closing(web.HTTPBadRequest(text=f"realtalk_ros: {reason}\n"))

    def _refused(self, what: str) -> web.HTTPException:
        self._counts["refused"] += 1
        return _closing(web.HTTPForbidden(text=f"realtalk_ros: {what} is not allowed here\n"))


def _closing(answer: web.HTTPException) -> web.HTTPException:
    answer.force_close()
    return answer


def host_name(header: str) -> str | None:
    """The name or address in a Host header; None where there is none."""
    if not HOST.fullmatch(header):
        return None
    try:
        parts = urlsplit(f"//{header}")
        return parts.hostname if parts.port != 0 else None
    except ValueError:  # an impossible address or port
        return None


def is_local(request: web.Request) -> bool:
    """Whether a request is of this machine. What a proxy on it passes on comes from anywhere."""
    return is_loopback(request.remote) and not any(n in request.headers for n in PROXY_HEADERS)


def source_of(request: web.Request) -> str:
    """The network address that a request comes from. One machine has many IPv6 addresses, of which
    the first half is its network's."""
    try:
        ip = ipaddress.ip_address((request.remote or "").partition("%")[0])
    except ValueError:
        return ""
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return HERE if is_local(request) else "a proxy here"
    return str(ip if ip.version == 4 else ipaddress.ip_network(f"{ip}/64", strict=False))


def is_loopback(address: str | None) -> bool:
    """Whether an IP address, which may have a zone, is of this machine."""
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback
