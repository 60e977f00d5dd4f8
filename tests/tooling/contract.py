# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the source tree (docs/architecture.md, section 2), as functions from a checkout to what breaks them.

Each rule takes the root of a checkout and yields lines like ``plugins/...py:12: what is wrong``. They read the syntax
tree and import nothing, so they also see what only runs under TYPE_CHECKING.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MODULE_UTILS = Path("plugins/module_utils")
COLLECTION = "ansible_collections.headroom.fleet"
WHEEL = "headroom_fleet"

# A package may import those of a lower rank. Stages share a rank: they never import one another.
STAGES = ("_telemetry", "_fingerprint", "_forecast", "_attest", "_plan", "_scent", "_apply", "_replay", "_report")
RANKS = {
    **{name: rank for rank, name in enumerate(("_core", "_records", "_store", "_policy", "_platform"))},
    **dict.fromkeys(STAGES, 5),
    "_jobs": 6,
    "_ansible": 7,
}
# Stages are records in, records out; this one alone opens a store and obtains a platform's writer.
WRITING_STAGE = "_apply"
STORES_AND_PLATFORMS = ("_store", "_platform")
OPENS_A_WRITER = "open_writer"

LINES_MAX = 450  # "about 400"; test_imports warns from 400
VAGUE_NAMES = ("utils.py", "helpers.py", "manager.py", "misc.py", "common.py")
BY_NAME = ("__import__", "import_module")
HEADER = "Copyright: (c) 2026, Headroom contributors"
LICENCE = f"SPDX-License-{'Identifier'}: GPL-3.0-or-later"  # in two pieces: REUSE reads this line too
WITH_HEADER = (".py", ".yml", ".yaml", ".toml", ".sh", ".cfg", ".md", ".rst", ".j2", ".c")
GENERATED = ("changelogs/changelog.yaml",)


@dataclass(frozen=True)
class Source:
    """A Python file under plugins/."""

    path: Path  # relative to the checkout
    tree: ast.Module
    lines: int

    @property
    def package(self) -> str:
        """Its package of module_utils; "" for plugins, and for files directly in module_utils."""
        inside = self.path.relative_to(MODULE_UTILS).parts if self.in_module_utils else ()
        return inside[0] if len(inside) > 1 else ""

    @property
    def in_module_utils(self) -> bool:
        return self.path.is_relative_to(MODULE_UTILS)

    def at(self, node: ast.AST, message: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {message}"

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        return (node for node in ast.walk(self.tree) if isinstance(node, kinds))


@dataclass(frozen=True)
class Import:
    """One imported name, resolved: ``from .._core.errors import X`` in _plan/a.py is ``_core.errors.X``, inside."""

    node: ast.Import | ast.ImportFrom
    name: str  # dotted; relative to module_utils when inside
    inside: bool  # points into module_utils
    relative: bool

    @property
    def top(self) -> str:
        return self.name.partition(".")[0]


@cache
def sources(root: Path) -> tuple[Source, ...]:
    found = sorted(path for path in (root / "plugins").rglob("*.py") if "__pycache__" not in path.parts)
    texts = ((path.relative_to(root), path.read_text(encoding="utf-8")) for path in found)
    return tuple(Source(path, ast.parse(text, str(path)), text.count("\n")) for path, text in texts)


def imports(source: Source) -> Iterator[Import]:
    for node in source.nodes(ast.Import, ast.ImportFrom):
        if isinstance(node, ast.Import):
            yield from (resolved(node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (resolved(node, f"{node.module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # One dot is the file's own folder, each further dot one folder up.
            folder = source.path.parents[node.level - 1]
            parts = folder.relative_to(MODULE_UTILS).parts if folder.is_relative_to(MODULE_UTILS) else ("", folder.name)
            for alias in node.names:
                dotted = ".".join((*parts, *(node.module or "").split("."), alias.name)).replace("..", ".")
                yield Import(node, dotted.strip("."), inside=folder.is_relative_to(MODULE_UTILS), relative=True)


def resolved(node: ast.Import | ast.ImportFrom, name: str) -> Import:
    for prefix in (f"{COLLECTION}.plugins.module_utils", WHEEL):
        if name == prefix or name.startswith(f"{prefix}."):
            return Import(node, name[len(prefix) + 1 :], inside=True, relative=False)
    return Import(node, name, inside=False, relative=False)


# --- who may import whom --------------------------------------------------------------------------------------------


def import_table(root: Path) -> Iterator[str]:
    """A package imports only packages of a lower rank; stages never one another."""
    for source in sources(root):
        if not source.package:
            continue
        if source.package not in RANKS:
            if source.path.name != "__init__.py":
                yield f"{source.path}:1: {source.package} is not in the import table"
            continue
        for found in imports(source):
            if found.inside and found.top not in RANKS:
                yield source.at(found.node, f"{found.top or 'module_utils'} is not in the import table")
            elif found.inside and found.top != source.package and RANKS[found.top] >= RANKS[source.package]:
                yield source.at(found.node, f"{source.package} may not import {found.top}")


def stages_open_nothing(root: Path) -> Iterator[str]:
    """A stage imports no store and no platform; only the writing one does."""
    for source in sources(root):
        if source.package in STAGES and source.package != WRITING_STAGE:
            for found in imports(source):
                if found.inside and found.top in STORES_AND_PLATFORMS:
                    yield source.at(found.node, f"the stage {source.package} may not import {found.top}")


def one_writing_stage(root: Path) -> Iterator[str]:
    """Only _apply obtains a platform's writer; nobody else even names the function that opens one."""
    for source in sources(root):
        if source.package in {WRITING_STAGE, "_platform"}:
            continue
        for node in source.nodes(ast.Name, ast.Attribute, ast.alias, ast.Constant):
            names = [getattr(node, field, None) for field in ("id", "attr", "name", "value")]
            if OPENS_A_WRITER in names:
                yield source.at(node, f"only {WRITING_STAGE} obtains a writer")
        for found in imports(source):
            if found.inside and found.top == "_platform" and "write" in found.name.split("."):
                yield source.at(found.node, f"only {WRITING_STAGE} obtains a writer")


def relative_inside_module_utils(root: Path) -> Iterator[str]:
    """The same files are the collection and the wheel: inside module_utils no import names either."""
    for source in sources(root):
        for found in imports(source):
            names_us = found.top in {"ansible_collections", WHEEL} or (found.inside and not found.relative)
            if source.in_module_utils and names_us:
                yield source.at(found.node, "imports inside module_utils are relative")
            elif source.in_module_utils and found.relative and not found.inside:
                yield source.at(found.node, "module_utils imports nothing of the plugins")


def ansible_in_its_place(root: Path) -> Iterator[str]:
    """Only _ansible and the plugins import ansible."""
    for source in sources(root):
        for found in imports(source):
            if source.in_module_utils and source.package != "_ansible" and found.top == "ansible":
                yield source.at(found.node, "only _ansible and the plugins import ansible")


def third_parties_by_needs(root: Path) -> Iterator[str]:
    """A third party is imported by the function that needs it, and its folder announces it by ``with needs("name"):``.

    Once a folder: what works on an object that only the announced library can have made need not announce it again.
    For types alone, an import under TYPE_CHECKING is free.
    """
    announced: dict[Path, set[str]] = {}
    for source in sources(root):
        announced.setdefault(source.path.parent, set()).update(names_announced(source))
    for source in sources(root):
        if not source.in_module_utils:
            continue
        late = {id(inner) for node in source.nodes(ast.FunctionDef, ast.AsyncFunctionDef) for inner in ast.walk(node)}
        typing_only = {id(inner) for node in source.nodes(ast.If) if for_types(node) for inner in ast.walk(node)}
        for found in imports(source):
            ours = found.inside or found.relative or found.top in {"ansible", "ansible_collections", WHEEL}
            if ours or found.top in sys.stdlib_module_names or id(found.node) in typing_only:
                continue
            if id(found.node) not in late:
                yield source.at(found.node, f"import {found.top} in the function that needs it")
            elif found.top not in announced[source.path.parent]:
                yield source.at(found.node, f'import {found.top} inside `with needs("{found.top}"):`')


def for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}


def names_announced(source: Source) -> Iterator[str]:
    for node in source.nodes(ast.withitem):
        call = node.context_expr if isinstance(node, ast.withitem) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "needs":
            yield from (str(arg.value) for arg in call.args if isinstance(arg, ast.Constant))


def no_import_by_name(root: Path) -> Iterator[str]:
    """AnsiballZ ships what static imports reach: nothing in module_utils is imported by a computed name."""
    for source in sources(root):
        for node in source.nodes(ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""
            if source.in_module_utils and name in BY_NAME:
                yield source.at(node, f"{name}: registries are tables with literal imports")


# --- what a file may hold -------------------------------------------------------------------------------------------


def no_assert(root: Path) -> Iterator[str]:
    """``python -O`` removes an assert; an error is raised."""
    for source in sources(root):
        yield from (source.at(node, "no assert in plugins") for node in source.nodes(ast.Assert))


def no_bare_except(root: Path) -> Iterator[str]:
    """``except:`` and ``except BaseException:`` also catch the signal that asks us to stop."""
    for source in sources(root):
        for node in source.nodes(ast.ExceptHandler):
            caught = ast.unparse(node.type) if isinstance(node, ast.ExceptHandler) and node.type else ""
            reraises = isinstance(node, ast.ExceptHandler) and any(
                isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node)
            )
            if not caught or (caught == "BaseException" and not reraises):
                yield source.at(node, "no bare except")


def files_are_short(root: Path) -> Iterator[str]:
    for source in sources(root):
        if source.lines > LINES_MAX:
            yield f"{source.path}:{source.lines}: longer than {LINES_MAX} lines; split by noun"


def names_say_something(root: Path) -> Iterator[str]:
    for source in sources(root):
        if source.path.name.lstrip("_") in VAGUE_NAMES:
            yield f"{source.path}:1: no {source.path.name}; name the noun"


def only_python_in_module_utils(root: Path) -> Iterator[str]:
    """AnsiballZ ships .py files alone, and only from packages: no data file, no file outside a package."""
    for path in sorted((root / MODULE_UTILS).rglob("*")):
        inside = path.relative_to(root / MODULE_UTILS).parts
        if path.is_dir() or "__pycache__" in inside:
            continue
        if path.suffix != ".py":
            yield f"{path.relative_to(root)}:1: only .py files in module_utils"
        elif len(inside) == 1 and path.name != "__init__.py":
            yield f"{path.relative_to(root)}:1: every file of module_utils is in a package"
        elif not (path.parent / "__init__.py").exists():
            yield f"{path.relative_to(root)}:1: its folder has no __init__.py"


def init_files_are_empty(root: Path) -> Iterator[str]:
    for folder in ("plugins", "tests"):
        for path in sorted((root / folder).rglob("__init__.py")):
            if path.stat().st_size:
                yield f"{path.relative_to(root)}:1: __init__.py is empty"


def headers(root: Path) -> Iterator[str]:
    """Two lines at the top of every text file, in the file's comment syntax; what git ignores is not looked at."""
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        hidden = any(part in {"__pycache__", "build", "dist"} or part.startswith(".") for part in name.parts[:-1])
        if hidden or path.suffix not in WITH_HEADER or not path.is_file() or str(name) in GENERATED:
            continue
        top = path.read_text(encoding="utf-8").splitlines()[:6]
        empty_init = path.name == "__init__.py" and not top
        if not empty_init and not (any(HEADER in line for line in top) and any(LICENCE in line for line in top)):
            yield f"{name}:1: the header is missing ({HEADER}; {LICENCE})"


RULES = (
    import_table,
    stages_open_nothing,
    one_writing_stage,
    relative_inside_module_utils,
    ansible_in_its_place,
    third_parties_by_needs,
    no_import_by_name,
    no_assert,
    no_bare_except,
    files_are_short,
    names_say_something,
    only_python_in_module_utils,
    init_files_are_empty,
    headers,
)
