"""A small disk of one's own: a tmpfs in a mount namespace that ends with the story."""

import ctypes
import os
import subprocess
import traceback
from collections.abc import Callable
from pathlib import Path

_CLONE_NEWNS = 0x00020000


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        """To the last page."""
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def empty(self) -> None:
        self._filler.unlink()

    def bind_read_only(self, there: Path) -> None:
        """The same files, seen where nothing can be written."""
        _run("mount", "--bind", str(self.folder), str(there))
        _run("mount", "-o", "remount,bind,ro", str(there))


def on_small_disk(folder: Path, story: Callable[[SmallDisk], None], kilobytes: int = 1024) -> None:
    """Live through the story in a process of its own, with `folder` on a disk of that size."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reads)
            _own_mounts()
            _run("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder))
            story(SmallDisk(folder))
            status = 0
        except BaseException:  # noqa: BLE001  # it is told by the process that waits
            os.write(writes, traceback.format_exc()[-60_000:].encode())
        finally:
            os._exit(status)
    os.close(writes)
    with os.fdopen(reads, "rb") as told:
        said = told.read().decode()
    _, status = os.waitpid(child, 0)
    assert status == 0, said


def _own_mounts() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "--make-rprivate", "/")


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
