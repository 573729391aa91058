"""`python -m tests.plants --defects all --seeds 1..100`: plants each mistake, and says who sees it, and how soon.

Exit status: 0 all are found, 1 one is not or a run is not clean without it, 2 input wrong.
"""

import argparse
import re
import sys
from pathlib import Path

import msgspec

from tests.plants.defects import ALL, chosen
from tests.plants.finding import FINDINGS, Found, find
from tests.plants.page import page


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.plants", description=__doc__)
    parser.add_argument("--defects", default="all", help="all, own, known, or names with commas between them")
    parser.add_argument("--seeds", default="1..100", help="as A..B")
    parser.add_argument("--findings", type=int, default=FINDINGS, help="so many make a figure")
    parser.add_argument("--json", type=Path, help="results; those of other defects in it are kept")
    parser.add_argument("--markdown", type=Path, help="write the page")
    options = parser.parse_args()
    limits = re.fullmatch(r"(\d+)\.\.(\d+)", options.seeds)
    if limits is None or int(limits[2]) < int(limits[1]):
        parser.error(f"--seeds is {options.seeds!r}: expected A..B, such as 1..100")
    try:
        defects = chosen(options.defects)
    except ValueError as error:
        parser.error(str(error))
    seeds = range(int(limits[1]), int(limits[2]) + 1)
    results = _known(options.json)
    for defect in defects:
        found = results[defect.name] = find(defect, seeds, options.findings)
        print(_line(found), flush=True)
        if options.json is not None:
            options.json.write_bytes(msgspec.json.format(msgspec.json.encode(results)))
    if options.markdown is not None:
        options.markdown.write_text(page(results, seeds.stop - 1, options.findings))
    asked = [results[defect.name] for defect in defects]
    return 0 if all(one.is_found and not one.unclean for one in asked) else 1


def _known(path: Path | None) -> dict[str, Found]:
    if path is None or not path.exists():
        return {}
    known = msgspec.json.decode(path.read_bytes(), type=dict[str, Found])
    return {name: found for name, found in known.items() if name in ALL}


def _line(found: Found) -> str:
    cost = f"after {found.waits} seeds" if found.waits else f"in {found.seeds}"
    seen = f"seen {cost} by {found.judges}, also {found.also}" if found.is_found else f"NOT SEEN {cost}"
    unclean = "".join(f"\n    not clean without it: {text}" for text in found.unclean)
    alone = f"; alone wrong: {found.alone}" if found.alone else ""
    return f"{found.defect}: {seen}{alone} ({found.processor_s:.0f} s)\n    {found.says}{unclean}"


if __name__ == "__main__":
    sys.exit(main())
