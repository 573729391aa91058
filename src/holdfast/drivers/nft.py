"""libnftables inside this process, by ctypes: the text of nft commands in, what it prints or its error out.

Starting the program `nft` costs 6 to 14 ms each time; the library answers in a tenth of a millisecond.
"""

import ctypes
import json
import threading
from types import TracebackType
from typing import Any, Self

from holdfast.drivers.namespaces import inside
from holdfast.errors import MachineLacks, WorldError

LIBRARY = "libnftables.so.1"
OUTPUT_JSON = 1 << 4


class Nft:
    """One libnftables context; it speaks to the namespace in which it was opened."""

    def __init__(self, netns_fd: int | None = None) -> None:
        """Open the library and a context in the namespace (None: this process's own)."""
        self._library = _library()
        self._one_at_a_time = threading.Lock()
        self._context: int | None = inside(netns_fd, self._new_context)

    def _new_context(self) -> int:
        context: int | None = self._library.nft_ctx_new(0)
        if not context:
            raise MachineLacks("libnftables gives no context", "this needs root, or CAP_NET_ADMIN in the namespace")
        self._library.nft_ctx_buffer_output(context)
        self._library.nft_ctx_buffer_error(context)
        # The first command fetches what libnftables keeps about the namespace; its socket is made here, too.
        self._library.nft_run_cmd_from_buffer(context, b"list tables")
        # Fetching empties the buffer: what is printed now must not stand before the first answer.
        self._library.nft_ctx_get_output_buffer(context)
        return context

    def run(self, commands: str) -> None:
        """Carry the commands out as one transaction: all of them, or none and a WorldError with the library's text."""
        self._run(commands, 0)

    def ask(self, command: str) -> list[dict[str, Any]]:
        """The entries of a `list` command's JSON answer, without the one about the library itself."""
        answer = json.loads(self._run(command, OUTPUT_JSON))
        return [entry for entry in answer["nftables"] if "metainfo" not in entry]

    def _run(self, commands: str, flags: int) -> str:
        with self._one_at_a_time:
            if self._context is None:
                raise WorldError("the gate's connection to nftables is closed already")
            library, context = self._library, self._context
            library.nft_ctx_output_set_flags(context, flags)
            status = library.nft_run_cmd_from_buffer(context, commands.encode())
            output: bytes = library.nft_ctx_get_output_buffer(context) or b""
            error: bytes = library.nft_ctx_get_error_buffer(context) or b""
        if status != 0:
            raise _refusal(commands, error.decode(errors="replace").strip())
        return output.decode()

    def close(self) -> None:
        with self._one_at_a_time:
            if self._context is not None:
                self._library.nft_ctx_free(self._context)
                self._context = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise MachineLacks(f"{LIBRARY} cannot be loaded: {error}", "on Debian: apt-get install libnftables1") from error
    context = ctypes.c_void_p
    for name, result, arguments in (
        ("nft_ctx_new", context, [ctypes.c_uint32]),
        ("nft_ctx_free", None, [context]),
        ("nft_ctx_buffer_output", ctypes.c_int, [context]),
        ("nft_ctx_buffer_error", ctypes.c_int, [context]),
        ("nft_ctx_get_output_buffer", ctypes.c_char_p, [context]),
        ("nft_ctx_get_error_buffer", ctypes.c_char_p, [context]),
        ("nft_ctx_output_set_flags", None, [context, ctypes.c_uint]),
        ("nft_run_cmd_from_buffer", ctypes.c_int, [context, ctypes.c_char_p]),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


def _refusal(commands: str, text: str) -> MachineLacks | WorldError:
    """What libnftables said, as an error; the kernel's own reply is the last part of its first line."""
    first = text.splitlines()[0] if text else "no reason given"
    message = f"nftables refused {_shortened(commands)!r}: {first}"
    if "Operation not permitted" in text:
        return MachineLacks(message, "this needs root, or CAP_NET_ADMIN in the namespace")
    if "not supported" in text:
        return MachineLacks(message, "this kernel lacks a part of nftables (NF_TABLES_NETDEV, NETFILTER_EGRESS)")
    return WorldError(message)


def _shortened(commands: str, limit: int = 120) -> str:
    line = "; ".join(commands.split("\n"))
    return line if len(line) <= limit else line[:limit] + "…"
