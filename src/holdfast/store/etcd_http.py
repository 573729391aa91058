"""One connection to one etcd member: HTTP/1.1 requests out, answers and streams in.

Always: one request at a time; whatever goes wrong on the line is a `LineBroken`; a connection that broke, or
whose answer was not read to its end, is never used again. No time limits here: the caller sets them.
What a line rides on comes from a `Dial`: `dialled` is the kernel's, `lab/sim/etcd.py` has another one.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from holdfast.errors import HoldfastError, words_of
from holdfast.model.limits import ETCD_ANSWER_BYTES_MAX
from holdfast.store.etcd_target import Endpoint

_HEAD_BYTES_MAX = 1 << 16


class LineBroken(HoldfastError):
    """The member cannot be reached, or broke off. Whether it has carried the request out is unknown."""


class NotBelieved(HoldfastError):
    """TLS: the member, or we, could not prove who it is."""


class Rider(asyncio.StreamReaderProtocol):
    """What rides on the connection. No StreamWriter: over TLS it takes a connection that is gone for one left open."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader(limit=_HEAD_BYTES_MAX)
        super().__init__(self.reader)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        super().connection_made(transport)


Dial = Callable[[Endpoint, ssl.SSLContext | None, Callable[[], Rider]], Awaitable[Rider]]
"""`await dial(endpoint, tls, made)`: connect there; OSError or ssl.SSLError when that is not possible."""


async def dialled(endpoint: Endpoint, tls: ssl.SSLContext | None, made: Callable[[], Rider]) -> Rider:
    """Over the kernel's TCP."""
    loop = asyncio.get_running_loop()
    name = endpoint.host if tls else None
    return (await loop.create_connection(made, endpoint.host, endpoint.port, ssl=tls, server_hostname=name))[1]


class Line:
    """An open connection."""

    def __init__(self, endpoint: Endpoint, reader: asyncio.StreamReader, transport: asyncio.Transport) -> None:
        self.endpoint = endpoint
        self._reader = reader
        self._transport = transport
        self._is_usable = True

    @classmethod
    async def open(cls, endpoint: Endpoint, tls: ssl.SSLContext | None, dial: Dial = dialled) -> "Line":
        try:
            rider = await dial(endpoint, tls, Rider)
        except ssl.SSLError as error:
            raise NotBelieved(f"etcd member {endpoint}: {_tls_words(error)}") from error
        except ConnectionResetError as error:
            raise NotBelieved(
                f"etcd member {endpoint}: it broke off when we spoke TLS; perhaps it speaks none"
            ) from error
        except OSError as error:
            raise LineBroken(f"etcd member {endpoint} cannot be reached: {words_of(error)}") from error
        assert rider.transport is not None
        return cls(endpoint, rider.reader, rider.transport)

    @property
    def is_usable(self) -> bool:
        is_open = not self._transport.is_closing() and self._reader.exception() is None
        return self._is_usable and is_open and not self._reader.at_eof()

    async def ask(self, path: str, body: bytes | None, token: str) -> tuple[int, bytes]:
        """Send one request (GET without a body); answer status and body."""
        self._is_usable = False  # Until the answer has been read to its end.
        try:
            self._send(path, body, token)
            status, headers = await self._head()
            if headers.get("transfer-encoding") == "chunked":
                content = await self._joined()
            else:
                length = int(headers.get("content-length", "0"))
                if length > ETCD_ANSWER_BYTES_MAX:
                    raise LineBroken(f"etcd member {self.endpoint} answers with {length} bytes")
                content = await self._reader.readexactly(length)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise self._broken(error) from error
        self._is_usable = headers.get("connection") != "close"
        return status, content

    async def stream(self, path: str, body: bytes, token: str) -> AsyncGenerator[bytes, None]:
        """Send one request whose answer does not end; yield its lines. The connection serves nothing else."""
        self._is_usable = False
        try:
            self._send(path, body, token)
            await self._head()
            rest = b""
            async for chunk in self._chunks():
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > ETCD_ANSWER_BYTES_MAX:
                    raise ValueError(f"a line of more than {ETCD_ANSWER_BYTES_MAX} bytes")
                for line in lines:
                    yield line
            if rest:
                yield rest
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            raise self._broken(error) from error

    def _send(self, path: str, body: bytes | None, token: str) -> None:
        head = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", f"Host: {self.endpoint}"]
        if token:
            head.append(f"Authorization: {token}")
        if path == "/v3/watch":
            # A member that has lost its leader shall end the stream instead of staying silent.
            head.append("Grpc-Metadata-hasleader: true")
        if body is not None:
            head.append(f"Content-Length: {len(body)}")
        self._transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + (body or b""))

    async def _head(self) -> tuple[int, dict[str, str]]:
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.split("\r\n")
        version, status, *_ = first.split(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(f"{first[:40]!r} is no HTTP")
        pairs = (line.partition(":") for line in lines if line)
        return int(status), {name.strip().lower(): value.strip().lower() for name, _, value in pairs}

    async def _joined(self) -> bytes:
        content = bytearray()
        async for chunk in self._chunks():
            content += chunk
            if len(content) > ETCD_ANSWER_BYTES_MAX:
                raise ValueError(f"more than {ETCD_ANSWER_BYTES_MAX} bytes")
        return bytes(content)

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
            if size > ETCD_ANSWER_BYTES_MAX:
                raise ValueError(f"a piece of {size} bytes")
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        while (await self._reader.readuntil(b"\r\n")) != b"\r\n":
            continue  # Trailers say nothing that we need.

    def _broken(self, error: Exception) -> HoldfastError:
        if isinstance(error, ssl.SSLError):
            return NotBelieved(f"etcd member {self.endpoint}: {_tls_words(error)}")
        return LineBroken(f"etcd member {self.endpoint} broke off: {str(error) or type(error).__name__}")

    def close(self) -> None:
        """Never waits: a member that is frozen would not say goodbye."""
        self._is_usable = False
        self._transport.abort()


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not believed: {error.verify_message}"
    reason = str(error.reason or error)
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason:
        return "it speaks no TLS on this port"
    if "CERTIFICATE_REQUIRED" in reason or "BAD_CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return f"it does not believe our certificate, or wants one ({reason})"
    return f"TLS failed ({reason})"
