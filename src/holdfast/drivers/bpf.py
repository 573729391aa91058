"""Programs for the kernel's virtual machine (eBPF), written here instruction by instruction, and their maps.

In: instructions with names for places to jump to. Out: file descriptors of maps and of a loaded program, or an error
with the verifier's last words. No compiler and no library is needed; the kernel checks each program before it runs.
"""

import ctypes
import errno
import os
import platform
import struct

from holdfast.errors import MachineLacks, WorldError

SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_NEXT_KEY, PROGRAM_LOAD = range(6)
MAP_HASH, MAP_ARRAY = 1, 2
PROGRAM_CLASSIFIER = 3
ATTRIBUTES_SIZE = 128
LOG_SIZE = 1 << 16

# Functions of the kernel that a program may call (linux/bpf.h).
LOOK_UP, CLOCK_BOOT_NS, LOAD_BYTES = 1, 125, 26

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, FRAME = range(11)
WORD, HALF, BYTE, DOUBLE = 0x61, 0x69, 0x71, 0x79

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]


class Code:
    """Instructions, added one after another; jumps go to labels, which are resolved at the end."""

    def __init__(self) -> None:
        self._slots: list[tuple[int, int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: dict[int, str] = {}

    def label(self, name: str) -> None:
        self._labels[name] = len(self._slots)

    def move(self, to: int, value: int) -> None:
        self._add(0xB7, to, 0, 0, value)

    def copy(self, to: int, register: int) -> None:
        self._add(0xBF, to, register)

    def add(self, to: int, value: int) -> None:
        self._add(0x07, to, 0, 0, value)

    def load(self, size: int, to: int, register: int, offset: int) -> None:
        """Read memory; `size` is one of WORD, HALF, BYTE, DOUBLE."""
        self._add(size, to, register, offset)

    def store(self, register: int, offset: int, value: int) -> None:
        """Write four bytes."""
        self._add(0x62, register, 0, offset, value)

    def map(self, to: int, map_fd: int) -> None:
        self._add(0x18, to, 1, 0, map_fd)
        self._add(0)

    def map_value(self, to: int, map_fd: int) -> None:
        """The address of an array's first value."""
        self._add(0x18, to, 2, 0, map_fd)
        self._add(0)

    def call(self, function: int) -> None:
        self._add(0x85, 0, 0, 0, function)

    def go(self, label: str) -> None:
        self._jump(0x05, label)

    def if_equal(self, register: int, value: int, label: str) -> None:
        self._jump(0x15, label, register, 0, value)

    def if_not_equal(self, register: int, value: int, label: str) -> None:
        self._jump(0x55, label, register, 0, value)

    def if_at_least(self, register: int, other: int, label: str) -> None:
        self._jump(0x3D, label, register, other)

    def leave(self, value: int) -> None:
        self.move(R0, value)
        self._add(0x95)

    def _jump(self, operation: int, label: str, register: int = 0, other: int = 0, value: int = 0) -> None:
        self._jumps[len(self._slots)] = label
        self._add(operation, register, other, 0, value)

    def _add(self, operation: int, to: int = 0, register: int = 0, offset: int = 0, value: int = 0) -> None:
        self._slots.append((operation, to, register, offset, value))

    def assembled(self) -> bytes:
        out = bytearray()
        for at, (operation, to, register, offset, value) in enumerate(self._slots):
            if at in self._jumps:
                offset = self._labels[self._jumps[at]] - at - 1
            signed = value - (1 << 32) if value >= 1 << 31 else value
            out += struct.pack("=BBhi", operation, register << 4 | to, offset, signed)
        return bytes(out)


class Map:
    """A map of the kernel; it lives as long as this object or a program that uses it."""

    def __init__(self, kind: int, key_size: int, value_size: int, entries: int, name: str) -> None:
        head = struct.pack("=IIIIIII", kind, key_size, value_size, entries, 0, 0, 0)
        self.fd = _bpf(MAP_CREATE, head + name.encode()[:15].ljust(16, b"\0"), f"make the kernel map {name}")
        self._name = name
        self._key = ctypes.create_string_buffer(key_size)
        self._next = ctypes.create_string_buffer(key_size)
        self._value = ctypes.create_string_buffer(value_size)
        pointers = struct.pack("=IxxxxQQQ", self.fd, ctypes.addressof(self._key), ctypes.addressof(self._value), 0)
        self._both = ctypes.create_string_buffer(pointers.ljust(ATTRIBUTES_SIZE, b"\0"), ATTRIBUTES_SIZE)
        # What a command does not use must be zero.
        self._key_alone = ctypes.create_string_buffer(pointers[:16].ljust(ATTRIBUTES_SIZE, b"\0"), ATTRIBUTES_SIZE)

    def put(self, key: bytes, value: bytes) -> None:
        self._key.raw, self._value.raw = key, value
        if self._call(MAP_UPDATE) < 0:
            raise _failed(f"write the kernel map {self._name}")

    def get(self, key: bytes) -> bytes | None:
        self._key.raw = key
        if self._call(MAP_LOOKUP) < 0:
            if ctypes.get_errno() == errno.ENOENT:
                return None
            raise _failed(f"read the kernel map {self._name}")
        return self._value.raw

    def drop(self, key: bytes) -> None:
        """Delete an entry; absent is fine."""
        self._key.raw = key
        if _syscall(_number(), MAP_DELETE, self._key_alone, ATTRIBUTES_SIZE) < 0 and ctypes.get_errno() != errno.ENOENT:
            raise _failed(f"delete from the kernel map {self._name}")

    def keys(self) -> list[bytes]:
        found: list[bytes] = []
        first = struct.pack("=IxxxxQQQ", self.fd, 0, ctypes.addressof(self._next), 0)
        attributes = ctypes.create_string_buffer(first.ljust(ATTRIBUTES_SIZE, b"\0"), ATTRIBUTES_SIZE)
        while _syscall(_number(), MAP_NEXT_KEY, attributes, ATTRIBUTES_SIZE) >= 0:
            found.append(self._next.raw)
            self._key.raw = self._next.raw
            struct.pack_into("=Q", attributes, 8, ctypes.addressof(self._key))
        if ctypes.get_errno() != errno.ENOENT:
            raise _failed(f"list the kernel map {self._name}")
        return found

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def _call(self, command: int) -> int:
        result: int = _syscall(_number(), command, self._both, ATTRIBUTES_SIZE)
        return result


def load_classifier(code: Code, name: str) -> int:
    """Load a program that looks at frames; the file descriptor. A program the verifier refuses is a WorldError."""
    instructions = ctypes.create_string_buffer(code.assembled())
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(LOG_SIZE)
    attributes = struct.pack(
        "=IIQQIIQII",
        PROGRAM_CLASSIFIER,
        (len(instructions) - 1) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        1,
        LOG_SIZE,
        ctypes.addressof(log),
        0,
        0,
    )
    try:
        return _bpf(PROGRAM_LOAD, attributes + name.encode()[:15].ljust(16, b"\0"), f"load the kernel program {name}")
    except WorldError as refused:
        said = log.value.decode(errors="replace").strip().splitlines()
        raise WorldError(f"{refused.message}; the verifier's last words: {' / '.join(said[-3:])}") from refused


def _bpf(command: int, attributes: bytes, what: str) -> int:
    buffer = ctypes.create_string_buffer(attributes.ljust(ATTRIBUTES_SIZE, b"\0"), ATTRIBUTES_SIZE)
    result: int = _syscall(_number(), command, buffer, ATTRIBUTES_SIZE)
    if result < 0:
        raise _failed(what)
    return result


def _number() -> int:
    number = SYSCALL.get(_MACHINE)
    if number is None:
        raise MachineLacks(f"the number of the bpf system call on {_MACHINE} is not known", "use the two keys")
    return number


_MACHINE = platform.machine()


def _failed(what: str) -> MachineLacks | WorldError:
    code = ctypes.get_errno()
    message = f"cannot {what}: the kernel replied {errno.errorcode.get(code, code)} ({os.strerror(code)})"
    if code in (errno.EPERM, errno.ENOSYS):
        return MachineLacks(message, "this needs root, or CAP_BPF and CAP_NET_ADMIN outside a user namespace")
    return WorldError(message)
