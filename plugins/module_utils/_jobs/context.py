# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every job is given - endpoints, stores, clock, who asks - and what every job gives back."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core.errors import HeadroomError
from .._store.artifacts import ArtifactStore
from .._store.db import Database
from .._store.overlay import open_rehearsal
from .._store.series import SeriesStore

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from .._platform.base import Endpoint

# Each store: its environment variable, and its place below the user's state directory.
STORES = {
    "artifacts": ("HEADROOM_ARTIFACTS", "artifacts"),
    "state": ("HEADROOM_STATE", "state.db"),
    "telemetry": ("HEADROOM_TELEMETRY", "telemetry"),
}
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Result:
    """What a job did: ``values`` are plain JSON for the caller, ``diff`` is text before and after."""

    changed: bool
    values: dict[str, Any]
    before: str = ""
    after: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Context:
    """One job's surroundings. Stores open when first used.

    ``check``: a rehearsal. Its writes go to an overlay that all stages with the same ``run_id`` share; the stores
    themselves are neither created nor migrated.
    """

    now: datetime
    who: str
    run_id: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    urls: Mapping[str, str] = field(default_factory=dict)  # by names of STORES
    check: bool = False
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def run(self) -> str:
        """The run's id: as given, or a new one. Raises ``run_id.invalid``."""
        if self.run_id and not _RUN_ID.fullmatch(self.run_id):
            raise HeadroomError(
                "run_id.invalid",
                f"{self.run_id!r} cannot be a run id.",
                advice="Use up to 64 letters, digits, . _ and -.",
            )
        return self.run_id or f"{self.now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"

    @property
    def endpoints_by_name(self) -> dict[str, Endpoint]:
        """Raises ``endpoint.twice``."""
        found = {endpoint.name: endpoint for endpoint in self.endpoints}
        if len(found) != len(self.endpoints):
            raise HeadroomError("endpoint.twice", "Two endpoints have the same name.", advice="Give each its own.")
        return found

    @cached_property
    def artifacts(self) -> ArtifactStore:
        """The artifact store."""
        return ArtifactStore(self.url("artifacts"), overlay_url=self._overlay("artifacts"))

    @cached_property
    def database(self) -> Database:
        """The state store."""
        overlay = self._overlay("state.db")
        return open_rehearsal(self.url("state"), path=Path(overlay)) if overlay else Database(self.url("state"))

    @cached_property
    def series(self) -> SeriesStore:
        """The telemetry store."""
        return SeriesStore(self.url("telemetry"), overlay_url=self._overlay("telemetry"))

    def close(self) -> None:
        """Let go of the stores. A rehearsal that no other stage can share is dropped with them."""
        if "database" in self.__dict__:
            self.database.close()
        if self.check and not self.run_id:
            drop_rehearsal(self.run)

    def url(self, store: str) -> str:
        """Where a store is: as given, else by its environment variable, else below the user's state directory."""
        variable, name = STORES[store]
        url = self.urls.get(store) or os.environ.get(variable, "")
        if url:
            return url
        home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "headroom"
        self.warnings.append(f"No {store} store is named: using {home / name}. Set {variable} to share it.")
        return str(home / name)

    def _overlay(self, name: str) -> str:
        if not self.check:
            return ""
        place = rehearsal_dir(self.run)
        place.mkdir(mode=0o700, exist_ok=True)
        if place.is_symlink() or place.stat().st_uid != os.getuid():
            raise HeadroomError(
                "rehearsal.foreign", f"{place} belongs to somebody else.", advice="Rehearse under another run id."
            )
        return str(place / name)


def rehearsal_dir(run_id: str) -> Path:
    """Where the overlays of a rehearsal are."""
    return Path(tempfile.gettempdir()) / f"headroom-rehearsal-{os.getuid()}-{run_id}"


def rehearsals_before(moment: datetime) -> list[str]:
    """Run ids of this user's rehearsals whose overlays nobody has touched since."""
    prefix = str(rehearsal_dir(""))
    found = []
    for place in Path(tempfile.gettempdir()).glob(f"{Path(prefix).name}*"):
        if place.is_symlink() or not place.is_dir() or place.stat().st_uid != os.getuid():
            continue
        try:
            touched = max(path.lstat().st_mtime for path in (place, *place.rglob("*")))
        except FileNotFoundError:  # somebody is at work in it
            continue
        if touched < moment.timestamp():
            found.append(str(place).removeprefix(prefix))
    return sorted(found)


def drop_rehearsal(run_id: str) -> None:
    """Remove a rehearsal's overlays; one that is not there is gone already."""
    shutil.rmtree(rehearsal_dir(run_id), ignore_errors=True)


def find_vm_name(names: Mapping[str, str], wanted: str) -> str:
    """The unique_id of a VM given by it or by a name only one VM has. Raises ``vm.unknown``, ``vm.ambiguous``."""
    return _find_name(names, wanted, kind="vm", noun="VM", id_name="unique_id")


def find_host_name(names: Mapping[str, str], wanted: str) -> str:
    """The host_id of a host given by it or by a name only one has. Raises ``host.unknown``, ``host.ambiguous``."""
    return _find_name(names, wanted, kind="host", noun="host", id_name="host_id")


def _find_name(names: Mapping[str, str], wanted: str, *, kind: str, noun: str, id_name: str) -> str:
    if wanted in names:
        return wanted
    found: list[str] = [its_id for its_id, name in names.items() if name == wanted]
    if len(found) == 1:
        return found[0]
    if not found:
        raise HeadroomError(
            f"{kind}.unknown", f"There is no {noun} {wanted}.", advice=f"Give its {id_name} or its name."
        )
    raise HeadroomError(
        f"{kind}.ambiguous",
        f"{len(found)} {noun}s are named {wanted}.",
        advice=f"Give the {id_name}: " + ", ".join(found) + ".",
    )
