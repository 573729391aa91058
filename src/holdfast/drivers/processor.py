"""What the kernel says of a process's time on the processor. In: its number. Out: `ProcessorUse`, or None."""

from pathlib import Path

from holdfast.model.processor import ProcessorUse, together

READY = b"R"


def processor_use(pid: int) -> ProcessorUse | None:
    """Of all its threads; None when it is gone, or the kernel does not count (CONFIG_SCHED_INFO)."""
    return together(use for task in _tasks(pid) if (use := _of_task(task)) is not None)


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []


def _of_task(task: Path) -> ProcessorUse | None:
    try:
        ran_ns, waited_ns = (task / "schedstat").read_bytes().split()[:2]
        state = (task / "stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    return ProcessorUse(int(ran_ns) / 1e9, int(waited_ns) / 1e9, state == READY)
