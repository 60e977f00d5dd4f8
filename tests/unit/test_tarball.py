# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection's tarball and the wheel hold: all that users need, and nothing else."""

from __future__ import annotations

import json
import posixpath
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SIZE_MAX = 2 * 2**20

# The allow-list: a file is in the tarball if and only if it matches. build_ignore in galaxy.yml must agree.
WANTED = re.compile(
    r"""
      README\.md | CHANGELOG\.rst | CONTRIBUTING\.md | REUSE\.toml | LICENSES/[^/]+\.txt
    | meta/(runtime\.yml|execution-environment\.yml|ee-requirements\.txt|ee-bindep\.txt)
    | changelogs/(config\.yaml|changelog\.yaml|fragments/[^/]+\.yml)
    | docs/architecture\.md | docs/guides/[^/]+\.md
    | docs/docsite/(links\.yml|config\.yml|extra-docs\.yml|rst/[^/]+\.rst)
    | docs/examples/schedule/headroom[^/]*
    | plugins/(module_utils|modules|action|inventory|lookup|filter|doc_fragments|plugin_utils)/.+\.py
    | roles/.+\.(yml|md|j2|py)
    | playbooks/.+\.yml
    | extensions/(eda|audit)/.+\.(yml|py)
    | inventories/(example/.+|policies/example)\.yml
    | terraform/.+\.(tf|md)
    """,
    re.VERBOSE,
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
MADE_BY_GALAXY = {"MANIFEST.json", "FILES.json"}


def files_below(root: Path) -> set[str]:
    """All files that git knows or would add, deleted ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    return {name for name in listed if name and (root / name).exists()}


def build_tarball(source: Path, target: Path) -> Path:
    galaxy = shutil.which("ansible-galaxy") or str(Path(sys.executable).with_name("ansible-galaxy"))
    subprocess.run(
        [galaxy, "collection", "build", str(source), "--output-path", str(target)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (tarball,) = target.glob("headroom-fleet-*.tar.gz")
    return tarball


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tarball(CHECKOUT, tmp_path_factory.mktemp("tarball"))


def members(tarball: Path) -> set[str]:
    with tarfile.open(tarball) as archive:
        return {member.name for member in archive if member.isfile()}


def test_tarball_equals_the_allow_list(tarball):
    wanted = {name for name in files_below(CHECKOUT) if WANTED.fullmatch(name)}
    assert sorted(members(tarball) - MADE_BY_GALAXY) == sorted(wanted)


def test_every_relative_link_leads_to_something_in_the_tarball(tarball):
    names = members(tarball)
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    dead = []
    with tarfile.open(tarball) as archive:
        for name in sorted(name for name in names if name.endswith(".md")):
            for link in LINK.findall(archive.extractfile(name).read().decode()):
                if ":" in link or link.startswith("#"):
                    continue
                target = posixpath.normpath(PurePosixPath(name).parent / link.partition("#")[0])
                if target not in names | folders:
                    dead.append(f"{name}: {link}")
    assert dead == []


def test_tarball_is_small(tarball):
    assert tarball.stat().st_size < SIZE_MAX


def test_tarball_has_no_dependencies_and_the_licence(tarball):
    with tarfile.open(tarball) as archive:
        info = json.load(archive.extractfile("MANIFEST.json"))["collection_info"]
    assert info["dependencies"] == {}
    assert info["license"] == ["GPL-3.0-or-later"]
    assert (info["namespace"], info["name"]) == ("headroom", "fleet")


def test_a_file_too_many_is_noticed(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("galaxy.yml", "README.md", "meta/runtime.yml"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(CHECKOUT / name, copy / name)
    (copy / "notes.txt").write_text("not for users", encoding="utf-8")
    (copy / "tests").mkdir()
    (copy / "tests/secret.py").touch()
    found = members(build_tarball(copy, tmp_path)) - MADE_BY_GALAXY
    assert {name for name in found if not WANTED.fullmatch(name)} == {"notes.txt"}
    assert not WANTED.fullmatch("plugins/module_utils/_plan/default.yml")


def test_versions_agree():
    galaxy = re.search(r"^version: (.+)$", (CHECKOUT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    wheel = re.search(r'^version = "(.+)"$', (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert galaxy[1] == wheel[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools writes into the folder it builds."""
    copy = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(CHECKOUT / name, copy / name)
    for name in ("LICENSES", "plugins/module_utils"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy / "dist", copy],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    (built,) = (copy / "dist").glob("headroom_fleet-*.whl")
    return built


def test_wheel_holds_every_package_but_those_of_ansible(wheel):
    base = CHECKOUT / "plugins/module_utils"
    files = {str(path.relative_to(base)) for path in base.rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == {f"headroom_fleet/{name}" for name in files if not name.startswith("_ansible/")}


@pytest.mark.slow
def test_wheel_imports_in_a_clean_environment(wheel, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env/bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("headroom_fleet/") and name.endswith(".py")]
    modules = [name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in names]
    imports = "".join(f"import {name}\n" for name in modules)
    code = f"import sys\n{imports}sys.exit('ansible' in sys.modules)"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "headroom_fleet._core.errors" in modules


def test_the_lock_names_only_public_addresses():
    addresses = re.findall(r'https?://[^/"]+', (CHECKOUT / "uv.lock").read_text(encoding="utf-8"))
    assert set(addresses) == {"https://pypi.org", "https://files.pythonhosted.org"}


def test_the_execution_environment_installs_what_the_extras_name():
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    libraries = sorted(extras["forecast"] + extras["stores"] + extras["libvirt"])
    lines = (CHECKOUT / "meta/ee-requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == libraries
