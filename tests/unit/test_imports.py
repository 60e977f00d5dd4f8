# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The import table and the rules of the source tree; everything imports without third parties, and on Python 3.9."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tooling import contract

CHECKOUT = Path(__file__).resolve().parents[2]
OLDEST_PYTHON = "3.9"

# Imports all that is named on standard input and prints what fails. Third parties are blocked by name, except ansible's
# own: what plugins inherit from is ansible-core's, with all it needs.
IMPORT_ALL = """
import importlib, sys, traceback

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError("No module named %r (blocked)" % name, name=name)

BLOCKED = set(sys.argv[2].split(","))
sys.path[0:0] = sys.argv[1].split(":")
sys.meta_path.insert(0, Blocker())
failed = 0
for name in sys.stdin.read().split():
    try:
        importlib.import_module(name)
    except Exception:
        failed += 1
        print(name, traceback.format_exc(limit=-2), sep="\\n")
sys.exit(1 if failed else 0)
"""
THIRD_PARTIES = (
    "deltalake,fsspec,libvirt,libvirt_qemu,lightgbm,numpy,pandas,psycopg,pyarrow,scipy,sqlalchemy,statsmodels"
)


def tree(root: Path, files: dict[str, str]) -> Path:
    """Write a little checkout of files below plugins/module_utils, named without .py, and their __init__.py files."""
    for name, text in files.items():
        path = root / contract.MODULE_UTILS / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        for folder in path.relative_to(root / contract.MODULE_UTILS).parents:
            if folder.name:
                (root / contract.MODULE_UTILS / folder / "__init__.py").touch()
    return root


HEADER = f"# {contract.HEADER}\n# {contract.LICENCE}\n"

# (rule, a tree that keeps it, a tree that breaks it)
SELF_TESTS: list[tuple[Callable[[Path], Iterator[str]], dict[str, str], dict[str, str]]] = [
    (contract.import_table, {"_plan/a": "from .._core import b"}, {"_core/a": "from .._plan import b"}),
    (contract.import_table, {"_plan/a": "from .b import c"}, {"_plan/a": "from .._forecast.b import c"}),
    (contract.import_table, {"_jobs/a": "from .. import _plan"}, {"_plan/a": "from .. import _jobs"}),
    (contract.import_table, {"_platform/fake/a": "from ..._core import b"}, {"_core/a/b": "from ..._store import c"}),
    (
        contract.import_table,
        {"_records/a": "from .._core.b import c"},
        {"_records/a": "if TYPE_CHECKING:\n    from .._store.b import C"},
    ),
    (
        contract.import_table,
        {"_store/a": ""},
        {"_records/a": "import ansible_collections.headroom.fleet.plugins.module_utils._store.b"},
    ),
    (contract.import_table, {"_core/a": ""}, {"_surprise/a": ""}),
    (contract.import_table, {"_jobs/a": ""}, {"_jobs/a": "from .. import loose"}),
    (contract.stages_open_nothing, {"_apply/a": "from .._store import b"}, {"_plan/a": "from .._store import b"}),
    (
        contract.stages_open_nothing,
        {"_jobs/a": "from .._platform import b"},
        {"_report/a": "from .._platform.base import B"},
    ),
    (
        contract.one_writing_stage,
        {"_apply/a": "from .._platform.registry import open_writer"},
        {"_jobs/a": "from .._platform.registry import open_writer"},
    ),
    (contract.one_writing_stage, {"_platform/r": "x.open_writer()"}, {"_jobs/a": "registry.open_writer(endpoint)"}),
    (contract.one_writing_stage, {"_jobs/a": "b.open_reader"}, {"_jobs/a": "getattr(registry, 'open_writer')"}),
    (
        contract.one_writing_stage,
        {"_jobs/a": "from .._platform.libvirt import telemetry"},
        {"_jobs/a": "from .._platform.libvirt.write import Setter"},
    ),
    (
        contract.relative_inside_module_utils,
        {"_plan/a": "from .._core import b"},
        {"_plan/a": "from ansible_collections.headroom.fleet.plugins.module_utils._core import b"},
    ),
    (contract.relative_inside_module_utils, {"_plan/a": "import os"}, {"_plan/a": "import headroom_fleet._core"}),
    (
        contract.relative_inside_module_utils,
        {"_ansible/a": "from .._jobs import b"},
        {"_ansible/a": "from ...plugin_utils.b import c"},
    ),
    (
        contract.ansible_in_its_place,
        {"_ansible/a": "from ansible.module_utils.basic import AnsibleModule"},
        {"_jobs/a": "def f():\n    import ansible.errors"},
    ),
    (
        contract.third_parties_by_needs,
        {"_forecast/a": "def f():\n    with needs('numpy'):\n        import numpy"},
        {"_forecast/a": "import numpy"},
    ),
    (
        contract.third_parties_by_needs,
        {
            "_store/a": "def f():\n    with needs('numpy'):\n        import numpy",
            "_store/b": "def f():\n    import numpy",
        },
        {"_store/a": "def f():\n    with needs('pandas'):\n        import numpy"},
    ),
    (
        contract.third_parties_by_needs,
        {"_forecast/a": "if TYPE_CHECKING:\n    import numpy"},
        {"_forecast/a": "try:\n    import numpy\nexcept ImportError:\n    numpy = None"},
    ),
    (contract.no_import_by_name, {"_plan/a": "import importlib"}, {"_plan/a": "importlib.import_module(x)"}),
    (contract.no_assert, {"_plan/a": "'assert'"}, {"_plan/a": "assert True"}),
    (
        contract.no_bare_except,
        {"_plan/a": "try:\n    f()\nexcept OSError:\n    g()"},
        {"_plan/a": "try:\n    f()\nexcept:\n    g()"},
    ),
    (
        contract.no_bare_except,
        {"_plan/a": "try:\n    f()\nexcept BaseException:\n    g()\n    raise"},
        {"_plan/a": "try:\n    f()\nexcept BaseException:\n    g()"},
    ),
    (contract.files_are_short, {"_plan/a": "\n" * 400}, {"_plan/a": "\n" * 451}),
    (contract.names_say_something, {"_plan/a": ""}, {"_plan/utils": ""}),
    (contract.only_python_in_module_utils, {"_plan/a": ""}, {"loose": ""}),
    (contract.init_files_are_empty, {"_plan/a": "1"}, {"_plan/__init__": "1"}),
    (contract.headers, {"_plan/a": f"{HEADER}1"}, {"_plan/a": "1"}),
    (contract.headers, {"_plan/a": f"#!/usr/bin/python\n{HEADER}1"}, {"_plan/a": f"{HEADER.splitlines()[0]}\n1"}),
]


@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
def test_tree_keeps_the_rule(rule):
    assert list(rule(CHECKOUT)) == []


@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
def test_empty_tree_keeps_the_rule(rule, tmp_path):
    assert list(rule(tmp_path)) == []


@pytest.mark.parametrize(("rule", "good", "bad"), SELF_TESTS, ids=[case[0].__name__ for case in SELF_TESTS])
def test_rule_bites(rule, good, bad, tmp_path):
    assert list(rule(tree(tmp_path / "good", good))) == []
    assert len(list(rule(tree(tmp_path / "bad", bad)))) == 1


def test_every_rule_is_tested():
    assert {case[0] for case in SELF_TESTS} == set(contract.RULES)


def test_data_file_and_missing_init_are_found(tmp_path):
    folder = tmp_path / contract.MODULE_UTILS / "_plan"
    folder.mkdir(parents=True)
    (folder / "default.yml").touch()
    (folder / "a.py").touch()
    assert len(list(contract.only_python_in_module_utils(tmp_path))) == 2


@pytest.mark.filterwarnings("default")
def test_long_files_are_named():
    for source in contract.sources(CHECKOUT):
        if source.lines > 400:
            warnings.warn(f"{source.path} has {source.lines} lines; about 400 is the measure", stacklevel=1)


# --- everything imports ---------------------------------------------------------------------------------------------


def module_names(checkout: Path, folder: str, prefix: str) -> list[str]:
    base = checkout / folder
    paths = (path.relative_to(base).with_suffix("") for path in sorted(base.rglob("*.py")))
    return [
        ".".join((prefix, *path.parts)).removesuffix(".__init__") for path in paths if "__pycache__" not in path.parts
    ]


def import_all(python: str, names: list[str], *, path: list[Path], flags: tuple[str, ...] = ()):
    """Import the names in a fresh interpreter of the given Python, third parties blocked."""
    return subprocess.run(
        [python, *flags, "-B", "-c", IMPORT_ALL, ":".join(map(str, path)), THIRD_PARTIES],
        input="\n".join(names), text=True, capture_output=True, check=False, timeout=300,
    )  # fmt: skip


def oldest_python() -> str:
    found = subprocess.run(
        [CHECKOUT / "tests/tooling/pythons", OLDEST_PYTHON], text=True, capture_output=True, check=False
    ).stdout.strip()
    if not found and os.environ.get("CI") == "true":
        pytest.fail(f"Python {OLDEST_PYTHON} is not installed; CI demands it")
    return found or pytest.skip(f"matrix: Python {OLDEST_PYTHON} is not installed")


@pytest.fixture
def as_wheel(tmp_path: Path) -> Path:
    """A path on which module_utils is headroom_fleet, as the wheel has it."""
    (tmp_path / "headroom_fleet").symlink_to(CHECKOUT / contract.MODULE_UTILS, target_is_directory=True)
    return tmp_path


@pytest.fixture
def as_collection(tmp_path: Path) -> Path:
    """A path with ansible-core and this checkout as the collection, and nothing else."""
    import ansible

    (tmp_path / "ansible_collections/headroom").mkdir(parents=True)
    (tmp_path / "ansible_collections/headroom/fleet").symlink_to(CHECKOUT, target_is_directory=True)
    (tmp_path / "ansible").symlink_to(Path(ansible.__file__).parent, target_is_directory=True)
    return tmp_path


def wheel_modules(checkout: Path) -> list[str]:
    names = module_names(checkout, "plugins/module_utils", "headroom_fleet")
    return [name for name in names if not name.startswith("headroom_fleet._ansible")]


def host_side_modules(checkout: Path) -> list[str]:
    """What AnsiballZ may carry to a host: module_utils with _ansible, and the modules."""
    plugins = f"{contract.COLLECTION}.plugins"
    return [
        name
        for kind in ("module_utils", "modules")
        for name in module_names(checkout, f"plugins/{kind}", f"{plugins}.{kind}")
    ]


def test_wheel_imports_with_the_standard_library_alone(as_wheel):
    done = import_all(sys.executable, wheel_modules(CHECKOUT), path=[as_wheel], flags=("-I", "-S"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_everything_imports_with_third_parties_blocked(as_collection):
    names = module_names(CHECKOUT, "plugins", f"{contract.COLLECTION}.plugins")
    done = import_all(sys.executable, names, path=[as_collection])
    assert done.returncode == 0, done.stdout + done.stderr


def test_module_utils_imports_on_the_oldest_python(as_wheel):
    done = import_all(oldest_python(), wheel_modules(CHECKOUT), path=[as_wheel], flags=("-I", "-S"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_modules_import_on_the_oldest_python(as_collection):
    done = import_all(oldest_python(), host_side_modules(CHECKOUT), path=[as_collection], flags=("-I", "-S"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "line",
    ["import numpy", "from sqlalchemy import select", "import not_of_the_standard_library", "from .gone import x"],
)
def test_a_module_that_does_not_import_is_named(line, tmp_path):
    checkout = tree(tmp_path / "checkout", {"_plan/a": line, "_plan/b": ""})
    (tmp_path / "headroom_fleet").symlink_to(checkout / contract.MODULE_UTILS, target_is_directory=True)
    done = import_all(sys.executable, wheel_modules(checkout), path=[tmp_path])
    assert done.returncode == 1
    assert "headroom_fleet._plan.a\n" in done.stdout
    assert "headroom_fleet._plan.b\n" not in done.stdout


def test_newer_syntax_fails_on_the_oldest_python(tmp_path):
    checkout = tree(tmp_path / "checkout", {"_plan/a": "match 1:\n    case _:\n        pass", "_plan/b": ""})
    (tmp_path / "headroom_fleet").symlink_to(checkout / contract.MODULE_UTILS, target_is_directory=True)
    done = import_all(oldest_python(), wheel_modules(checkout), path=[tmp_path], flags=("-I", "-S"))
    assert done.returncode == 1
    assert "SyntaxError" in done.stdout
