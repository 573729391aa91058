"""Where the store of several hosts is: `etcd://` addresses in, a checked target out.

    etcd://10.0.0.1:2379,10.0.0.2:2379,10.0.0.3:2379/lab
    etcds://holdfast@a.example,b.example,c.example/prod?ca=/etc/holdfast/ca.pem&password-file=/etc/holdfast/etcd.pass

`etcds` means TLS. The path is the folder in etcd under which everything of one deployment is kept, so that
several deployments can share a cluster. Secrets are never part of the address: addresses stand in process lists.
"""

import re
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from holdfast.errors import UserError

CLIENT_PORT = 2379
SHAPE = "etcd://[USER@]HOST[:PORT],…[/NAME][?password-file=FILE], or etcds://… with ca=FILE, cert=FILE, key=FILE"
_OPTIONS = {"etcd": {"password-file"}, "etcds": {"password-file", "ca", "cert", "key"}}


class Endpoint(Struct, frozen=True):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Target(Struct, frozen=True):
    """A cluster, the deployment's folder in it, and how to be believed there."""

    endpoints: tuple[Endpoint, ...]
    folder: str = "/holdfast/default"
    user: str = ""
    password_file: str = ""
    tls: bool = False
    ca: str = ""
    """Whom to believe; the machine's own authorities if empty."""
    cert: str = ""
    key: str = ""

    def __str__(self) -> str:
        return ",".join(map(str, self.endpoints))

    def own_first(self, is_here: Callable[[str], bool]) -> "Target":
        """The same, with the members of this machine before all others.

        When a host is lost, the managers on others then need not find out first that its member is lost, too.

        Args:
            is_here: whether a host's name or address is this machine's.
        """
        return replace(self, endpoints=tuple(sorted(self.endpoints, key=lambda one: not is_here(one.host))))

    def password(self) -> str:
        """Read anew each time, so that a changed password needs no restart."""
        file = Path(self.password_file)
        try:
            password, mode = file.read_text().rstrip("\n"), file.stat().st_mode
        except OSError as error:
            raise UserError(
                f"the password file {self.password_file!r} cannot be read: {error.strerror}",
                "password-file= in the address of the store names it",
            ) from error
        if mode & 0o077:
            raise UserError(f"others may read the password file {file}", f"chmod 600 {file}")
        return password

    def tls_context(self) -> ssl.SSLContext | None:
        """Raises UserError for files that are not what they should be."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except (OSError, ssl.SSLError) as error:
            raise UserError(f"the authority {self.ca!r} cannot be used: {error}", "expected a PEM file") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert:
            try:
                context.load_cert_chain(self.cert, self.key or None)
            except (OSError, ssl.SSLError) as error:
                where = f"{self.cert!r} with key {self.key or self.cert!r}"
                raise UserError(f"the certificate {where} cannot be used: {error}", "expected PEM files") from error
        return context


def is_here(host: str) -> bool:
    """Whether that address, or name, is this machine's. No other machine is asked."""
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        return host.partition(".")[0] == socket.gethostname().partition(".")[0]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def parse_target(address: str) -> Target:
    """Raises UserError, naming what is wrong with which part."""
    # By hand: several members are no URL in the strict sense, and newer Pythons refuse brackets among them.
    found = re.match(r"([a-z]+)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", address)
    scheme, members, path, query = found.groups("") if found else ("", "", "", "")
    if scheme not in _OPTIONS:
        raise UserError(f"{address!r} is no address of a store", f"expected {SHAPE}")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(set(options) - _OPTIONS[scheme])
    if unknown:
        known = ", ".join(sorted(_OPTIONS[scheme]))
        raise UserError(f"{address!r}: {scheme} has no option {unknown[0]!r}", f"expected {known}")
    who, _, where = members.rpartition("@")
    if ":" in who:
        raise UserError("a password does not belong into the address", "put it into a file: ?password-file=FILE")
    if bool(who) != bool(options.get("password-file")):
        raise UserError(f"{address!r}: user and password-file belong together", f"expected {SHAPE}")
    if options.get("key") and not options.get("cert"):
        raise UserError(f"{address!r}: key without cert", f"expected {SHAPE}")
    endpoints = tuple(_endpoint(text, address) for text in where.split(","))
    if len(set(endpoints)) < len(endpoints):
        raise UserError(f"{address!r} names a member twice")
    return Target(
        endpoints,
        "/holdfast/" + (path.strip("/") or "default"),
        unquote(who),
        options.get("password-file", ""),
        scheme == "etcds",
        options.get("ca", ""),
        options.get("cert", ""),
        options.get("key", ""),
    )


def _endpoint(text: str, address: str) -> Endpoint:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"{address!r}: {text!r} is no member: {error}", f"expected {SHAPE}") from error
    if not host:
        raise UserError(f"{address!r}: {text!r} is no member", f"expected {SHAPE}")
    return Endpoint(host, CLIENT_PORT if port is None else port)
