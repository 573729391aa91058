"""Fuzzing that is led by coverage: `python -m tests.fuzz [--seconds N] [--out DIR] [TARGET ...]`.

Each target has a process of its own (libFuzzer ends the process it runs in), all one after another, with an equal share
of the time. What leads to new lines is kept in `DIR/corpus/<target>` and the next run begins with it; what does harm is
kept in `DIR/found`. Exit status: 0 nothing found, 1 something found, 2 no such target; Ctrl-C ends it, and counts what
was done until then. Where there is no atheris (it has wheels for x86-64 and Python up to 3.13), that is said, and all.
"""

import argparse
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RSS_LIMIT_MB, INPUT_LIMIT_S, INPUT_BYTES_MAX = 1024, 10, 65536
TARGETS_IN = "tests.fuzz.targets"


def child(target: str, out: Path, seconds: int) -> None:
    """Never returns."""
    atheris: Any = importlib.import_module("atheris")

    with atheris.instrument_imports(include=["holdfast"]):
        from tests.fuzz.targets import TARGETS
    one = TARGETS[target]
    options = [
        sys.argv[0],
        str(out / "corpus" / target),
        f"-artifact_prefix={out / 'found' / target}-",
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={RSS_LIMIT_MB}",
        f"-timeout={INPUT_LIMIT_S}",
        f"-max_len={INPUT_BYTES_MAX}",
        "-print_final_stats=1",
    ]
    atheris.Setup(options, lambda data: one(data) and None)
    atheris.Fuzz()


def fuzz(target: str, out: Path, seconds: int) -> tuple[int, str]:
    """How many inputs were tried, and what was found; empty for nothing."""
    from tests.fuzz.targets import SEEDS

    corpus = out / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS[target]):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = [sys.executable, "-m", "tests.fuzz", "--child", "--seconds", str(seconds), "--out", str(out), target]
    # libFuzzer ends its process without a further line of ours: what it has left in its folder goes with ours.
    with tempfile.TemporaryDirectory(prefix="holdfast-fuzz-") as own:
        process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": own},
        )
        try:
            said, _ = process.communicate(timeout=seconds + 60)
        except BaseException:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            raise
    tried = [int(line.split()[-1]) for line in said.splitlines() if "number_of_executed_units" in line]
    return sum(tried), "" if process.returncode == 0 else said[-3000:]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("target", nargs="*")
    chosen = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("fuzzing: left out, as atheris is not installed: there is none for this processor or Python\n")
        return 0
    out = chosen.out.resolve()
    if chosen.child:
        child(chosen.target[0], out, chosen.seconds)
    from tests.fuzz.targets import TARGETS

    unknown = [name for name in chosen.target if name not in TARGETS]
    if unknown:
        sys.stderr.write(f"fuzzing: no target {unknown[0]}, expected one of {', '.join(TARGETS)}\n")
        return 2
    targets = (chosen.target or list(TARGETS)) if chosen.seconds else []
    (out / "found").mkdir(parents=True, exist_ok=True)
    total, found = 0, 0
    try:
        for target in targets:
            tried, trouble = fuzz(target, out, max(1, chosen.seconds // len(targets)))
            total += tried
            found += bool(trouble)
            print(f"{target}: {tried} inputs{', ' + trouble if trouble else ''}", flush=True)
    except KeyboardInterrupt:
        print("interrupted")
    print(f"{total} inputs; {f'{found} targets failed, see {out}/found' if found else 'nothing found'}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
