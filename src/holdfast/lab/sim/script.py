"""A drawn run as a file that a person can read, change and run again: descriptor and faults.

```yaml
says: what it shows
seed: 43                      # of everything that is left to chance: delays, losses, clocks
faults:
  - 1463 freeze-store active kept1 for 381
  - 1867 kill-vnfc active pool2
descriptor: |
  holdfast: 1
  ...
```

Times are milliseconds after the services were provided. In: the text. Out: a `Plan`. Errors: UserError with its line.
"""

import re
from pathlib import Path

import yaml

from holdfast.errors import UserError
from holdfast.lab.drawn import BY_NAME, PlannedFault, words_of
from holdfast.lab.sim.draw import Plan

_FAULT = re.compile(r"(\d+) ([a-z-]+)((?: (?!for |and )\S+){0,2})(?: and (\S+))?(?: for (\d+))?")
SHAPE = "`MILLISECONDS KIND [PLACE] [and OTHER] [for MILLISECONDS]`"


def load(path: Path) -> tuple[Plan, str]:
    """The plan, and what it says it shows."""
    try:
        text = path.read_text()
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise UserError(f"{path}:{line}: not well-formed YAML: {error.problem}") from error
    wanted = {"says": str, "seed": int, "faults": list, "descriptor": str}
    if not isinstance(node, yaml.MappingNode) or not isinstance(data, dict):
        raise UserError(f"{path}:1: expected a mapping with {', '.join(wanted)}")
    for name, kind in wanted.items():
        if not isinstance(data.get(name), kind):
            raise UserError(
                f"{path}: {name} is {data.get(name)!r}", f"expected {kind.__name__}; see docs/simulation.md"
            )
    lines = next(value for key, value in node.value if key.value == "faults").value
    faults = tuple(
        _fault(path, item.start_mark.line + 1, str(text)) for item, text in zip(lines, data["faults"], strict=True)
    )
    extra = {name: float(data.get(name, 0.0)) for name in ("loss", "doubling")}
    return Plan(data["seed"], data["descriptor"], (), (), faults, **extra), data["says"]


def _fault(path: Path, line: int, text: str) -> PlannedFault:
    found = _FAULT.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{path}:{line}: {text!r} is no fault", f"expected {SHAPE}")
    at_ms, kind, place, other, lasts_ms = found.groups()
    if kind not in BY_NAME:
        raise UserError(f"{path}:{line}: unknown fault {kind!r}", f"expected one of {', '.join(BY_NAME)}")
    return PlannedFault(kind, int(at_ms), place.strip(), int(lasts_ms or 0), other or "")


def text_of(plan: Plan, says: str) -> str:
    """The file."""
    lines = [f"says: {says}", f"seed: {plan.seed}"]
    lines += [f"{name}: {value}" for name, value in (("loss", plan.loss), ("doubling", plan.doubling)) if value]
    lines.append("faults:" if plan.faults else "faults: []")
    lines += [f"  - {words_of(fault)}" for fault in plan.faults]
    lines.append("descriptor: |")
    lines += [f"  {line}".rstrip() for line in plan.descriptor.splitlines()]
    return "\n".join(lines) + "\n"
