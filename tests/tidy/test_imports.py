"""Who may import whom: the table of ARCHITECTURE.md as a test, a sentence a rule."""

import sys

import pytest

from tests.tidy.tree import Module, modules

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "__main__": {"cli"},
    "model": set(),
    "descriptor": {"model", "core.tuning"},
    "core": {"model"},
    "wire": {"model"},
    "guest": set(),
    "state": {"wire.component", "state"},
    "vnfc": {"wire.component", "state"},
    "detect": {"model", "wire"},
    "drivers": {"model", "wire", "guest"},
    "store": {"model"},
    "runtime": {"model", "core", "wire", "detect", "drivers", "store", "guest"},
    "lab": {"model", "core", "wire", "drivers", "store", "guest", "runtime", "descriptor", "vnfc", "state"},
    "cli": {"model", "core", "wire", "drivers", "store", "runtime", "descriptor", "lab"},
}

WORLD = {
    "asyncio",
    "ctypes",
    "fcntl",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "select",
    "selectors",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}

THIRD_PARTIES: dict[str, set[str]] = {
    "model": {"msgspec", "pydantic", "pydantic_core"},
    "descriptor": {"pydantic", "pydantic_core", "yaml", "msgspec"},
    "core": {"msgspec"},
    "wire": {"msgspec"},
    "guest": set(),
    "state": set(),
    "vnfc": set(),
    "detect": set(),
    "drivers": {"msgspec"},
    "store": {"msgspec"},
    "runtime": {"msgspec"},
    "lab": {"msgspec", "rich", "yaml"},
    "cli": {"msgspec", "rich", "typer", "click"},
    "errors": set(),
    "": set(),
}


def _ours(name: str) -> str | None:
    return name.removeprefix("holdfast.") if name.startswith("holdfast.") else None


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name or "holdfast")
def test_folders_import_only_what_the_table_allows(module: Module) -> None:
    folder = module.folder
    wrong = []
    for line, name in module.imports():
        target = _ours(name)
        if target is None or target.split(".")[0] in {folder, "errors", "__version__"}:
            continue
        allowed = ALLOWED.get(folder, set())
        if not any(target == entry or target.startswith(entry + ".") for entry in allowed):
            wrong.append(f"{module.path}:{line} {folder} imports {name}")
    assert not wrong, "see the folder table in ARCHITECTURE.md:\n" + "\n".join(wrong)


@pytest.mark.parametrize("folder", ["core", "wire", "model"])
def test_pure_folders_cannot_touch_the_world(folder: str) -> None:
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in modules()
        if module.folder == folder
        for line, name in module.imports()
        if name.split(".")[0] in WORLD
    ]
    assert not wrong, "give it as a value instead (time, random numbers, bytes):\n" + "\n".join(wrong)


def test_the_core_gives_orders_and_does_not_wait() -> None:
    wrong = [f"{module.path}" for module in modules() if module.folder == "core" and "async def" in module.text]
    assert not wrong


def test_third_parties_live_at_the_edge() -> None:
    wrong = []
    for module in modules():
        for line, name in module.imports():
            top = name.split(".")[0]
            if top == "holdfast" or top in sys.stdlib_module_names:
                continue
            if top not in THIRD_PARTIES.get(module.folder, set()):
                wrong.append(f"{module.path}:{line} imports {top}")
    assert not wrong, "\n".join(wrong)


def test_judges_share_no_code_with_the_players() -> None:
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in modules()
        if module.name.startswith("lab.judges")
        for line, name in module.imports()
        if (target := _ours(name)) is not None and not target.startswith(("model.", "lab.judges", "errors"))
    ]
    assert not wrong, "judges read the journal and the wire, nothing else:\n" + "\n".join(wrong)


def test_nothing_outside_lab_and_command_line_knows_the_lab() -> None:
    wrong = [
        f"{module.path}:{line} imports {name}"
        for module in modules()
        if module.folder not in {"lab", "cli"}
        for line, name in module.imports()
        if (_ours(name) or "").startswith("lab")
    ]
    assert not wrong
