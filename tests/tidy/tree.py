"""The source tree as the tidy tests see it: files, their folders, their syntax trees."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "holdfast"
TESTS = ROOT / "tests"


@dataclass(frozen=True)
class Module:
    path: Path
    name: str
    """Dotted, without the leading `holdfast.`; empty for the package itself."""
    tree: ast.Module
    text: str

    @property
    def folder(self) -> str:
        return self.name.split(".")[0] if self.name else ""

    def imports(self) -> list[tuple[int, str]]:
        """Line and full dotted name of everything that is imported, inside functions too."""
        found: list[tuple[int, str]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
        return found


@cache
def modules() -> tuple[Module, ...]:
    return tuple(_read(path, SOURCE) for path in sorted(SOURCE.rglob("*.py")))


@cache
def modules_of_tests() -> tuple[Module, ...]:
    return tuple(_read(path, TESTS) for path in sorted(TESTS.rglob("*.py")))


def _read(path: Path, base: Path) -> Module:
    text = path.read_text()
    name = ".".join(path.relative_to(base).with_suffix("").parts).removesuffix("__init__").rstrip(".")
    return Module(path.relative_to(ROOT), name, ast.parse(text), text)


def functions(module: Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
