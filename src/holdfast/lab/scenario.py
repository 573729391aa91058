"""A scenario: which layout, which client, what is done to it in which order, and what is expected.

Files are `lab/scenarios/<name>.yaml`, the same for every world, or anybody's own. Steps are one verb each; the verbs
and their words are the table VERBS, which also checks them on reading.
"""

import re
from pathlib import Path
from typing import Literal

import yaml
from msgspec import Struct, structs

from holdfast.errors import UserError
from holdfast.lab.judges.evidence import Outage

FOLDER = Path(__file__).parent / "scenarios"
LAYOUTS = Path(__file__).parent / "layouts"

PLACE = r"(active|standby|[a-z0-9.#-]+)"
MANAGER = r"(ha|vnfm|vim|supervisor|all)"
VERBS: dict[str, tuple[str, str]] = {
    "load": (r"\d+ms", "let the load run for that long"),
    "kill-vnfc": (PLACE, "SIGKILL to all processes of the VNFC"),
    "kill-vm": (PLACE, "SIGKILL to the first process of the VM (of that name, or of that VNFC)"),
    "kill-manager": (MANAGER, "SIGKILL to a manager process"),
    "freeze-vnfc": (PLACE, "SIGSTOP to all processes of the VNFC"),
    "hold": (MANAGER, "SIGSTOP to a manager process (or the supervisor)"),
    "release": (MANAGER, "SIGCONT to it"),
    "host-off": (PLACE, "switch a host off (that one, or the host of that VNFC)"),
    "host-on": (PLACE, "switch it on again"),
    "freeze-host": (PLACE, "SIGSTOP to every process of the host; its kernel goes on"),
    "thaw-host": (PLACE, "SIGCONT to them"),
    "kill-agent": (PLACE, "SIGKILL to the host's agent; its hot process, which holds the grants, goes on"),
    "stick-agent": (PLACE, "SIGSTOP to the host's agent alone, as if its loop were stuck"),
    "freeze-agent": (PLACE, "SIGSTOP to the host's agent and its hot process"),
    "thaw-agent": (PLACE, "SIGCONT to them"),
    "starve-agent": (PLACE, "hardly any processor time for the host's agent and its hot process"),
    "feed-agent": (PLACE, "as much again as they want"),
    "kill-leader": (r"managers", "SIGKILL to the managers' leader, wherever it is"),
    "lead-at": (PLACE, "kill leaders of the managers until the one on that host leads"),
    "store-lead-at": (PLACE, "have etcd's leader on that host"),
    "kill-store": (PLACE, "SIGKILL to etcd's member on that host"),
    "start-store": (PLACE, "start it again, on its data"),
    "cut": (
        PLACE + "( (?!on\\b)" + PLACE + ")?( on (first|second))?",
        "cut a host from all others and from the managers, or two from one another; on all networks, or on one",
    ),
    "fence-mode": (
        PLACE + r"( [1-9])? (works|slow|lies|lies-fully|hangs|stays-off)",
        "how the host's fence devices behave from now on (those of one level, or all)",
    ),
    "lock": (PLACE, "say that the host is off, by the command that a person would type"),
    "unlock": (PLACE, "take it back, by the command that a person would type"),
    "heal": (r"all", "take all cuts away"),
    "second-client": (r"asks", "a second client, on a machine of its own, asks the service from now on"),
    "mislead": (PLACE, "the second client takes the VM on that host for the owner of the service's address"),
    "put-file": (PLACE + r" [a-z.-]+", "make an empty file in the VNFC's own folder"),
    "take-file": (PLACE + r" [a-z.-]+", "remove it"),
    "wear-out": (PLACE + r" \d+", "kill the VNFC that many times, each time as soon as it serves again"),
    "switchover": (
        r"[a-z0-9.-]+( to " + PLACE + ")?",
        "ask for a planned switchover of the VNF, to its successor or to that VNFC",
    ),
    "await": (
        r"(up|down|repaired|in-sync|control|voters [1-9]|record( \S+){3,4})",
        "wait for the service, the repair, the standby, managers that answer and have all agents with them, a voter set"
        " of so many hosts that most of them know, or for a journal record: party, type, what, detail",
    ),
    "down-and-up": (r"all", "end the whole deployment and start it again on the same disks"),
}


class Client(Struct, frozen=True):
    kind: Literal["registry", "dns", "http"]
    every_ms: float = 1.0


class Step(Struct, frozen=True):
    verb: str
    words: tuple[str, ...]
    line: int

    def __str__(self) -> str:
        return " ".join((self.verb, *self.words))


class Scenario(Struct, frozen=True):
    name: str
    title: str
    use_case: str
    layout: Path
    service: str
    client: Client
    steps: tuple[Step, ...]
    managers: Literal["one", "three", "hosts"] = "one"
    outage: Outage = "below-one-second"
    checkpoint_ms: float = 0.0
    """How often the function under test saves its state; 0: each update is saved before it is acknowledged."""
    needs: tuple[str, ...] = ()
    """What the nest must allow (`freezing`); otherwise the run is `unknown`."""
    called: str = ""
    """What to write after `holdfast lab run`: its name, or its file where it is not one of ours."""


NEEDED = ("title", "use_case", "layout", "service", "client", "steps")
"""Keys that each scenario has."""


def names() -> tuple[str, ...]:
    """All scenarios: use cases first, in order."""
    found = [path.stem for path in FOLDER.glob("*.yaml")]
    return tuple(sorted(found, key=lambda name: (not name.startswith("uc"), name)))


def load(name: str) -> Scenario:
    """Read a scenario by its name, or from a file of one's own (`*.yaml`).

    Errors: UserError for an unknown name, or a file that is not a scenario (with its line).
    """
    if name.endswith(".yaml"):
        return _own(Path(name))
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        import difflib

        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean `{near[0]}`? " if near else ""
        raise UserError(f"no scenario is called `{name}`", f"{hint}`holdfast lab list` shows all of them")
    return parse(path)


def _own(path: Path) -> Scenario:
    if not path.is_file():
        raise UserError(f"there is no file {path}", "give the path of a scenario; docs/lab.md has an example")
    return structs.replace(parse(path), called=str(path))


def parse(path: Path) -> Scenario:
    try:
        node = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise UserError(f"{path}:{line}: not well-formed YAML: {error.problem}") from error
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{path}:1: expected a mapping with {', '.join(NEEDED)}")
    data = yaml.safe_load(path.read_text())
    known = set(Scenario.__struct_fields__) - {"name", "called"}
    unknown = set(data) - known
    if unknown:
        raise UserError(f"{path}: unknown keys {sorted(unknown)}; expected {sorted(known)}")
    missing = [key for key in NEEDED if not data.get(key)]
    if missing or not isinstance(data["steps"], list) or not isinstance(data["client"], dict):
        what = f"no {', '.join(missing)}" if missing else "no list of steps, or no mapping for the client"
        raise UserError(f"{path}: found {what}", "docs/lab.md has an example")
    steps_node = next(value for key, value in node.value if key.value == "steps")
    lines = [item.start_mark.line + 1 for item in steps_node.value]
    steps = tuple(_step(path, line, text) for line, text in zip(lines, data["steps"], strict=True))
    beside, ours = path.parent / str(data["layout"]), LAYOUTS / str(data["layout"])
    layout = beside if beside.is_file() else ours
    if not layout.is_file():
        raise UserError(f"{path}: layout {data['layout']!r} is not in {LAYOUTS}", f"nor in {path.parent}, beside it")
    rest = {key: value for key, value in data.items() if key not in {"steps", "layout", "client", "needs"}}
    return Scenario(
        name=path.stem,
        called=path.stem,
        layout=layout,
        client=Client(**data["client"]),
        steps=steps,
        needs=tuple(data.get("needs", ())),
        **rest,
    )


def _step(path: Path, line: int, text: object) -> Step:
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{path}:{line}: expected a step such as `kill-vnfc active`, found {text!r}")
    verb, *words = text.split()
    if verb not in VERBS:
        raise UserError(f"{path}:{line}: unknown step `{verb}`; expected one of {', '.join(VERBS)}")
    pattern, _ = VERBS[verb]
    if not re.fullmatch(pattern, " ".join(words)):
        raise UserError(f"{path}:{line}: `{verb} {' '.join(words)}`: the words do not fit `{pattern}`")
    return Step(verb, tuple(words), line)
