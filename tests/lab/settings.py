# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lab lives, and the one error that its commands raise."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ROOT = "/var/tmp/headroom-lab"
SOCKET_PATH_MAX = 107  # bytes, sun_path of AF_UNIX without its closing zero


class LabError(Exception):
    """Something is missing or did not happen; ``code`` is the exit status (3: a prerequisite is missing)."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        """Keep the message for people and the exit status for machines."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Settings:
    """The two folders: ``root`` is the running lab and vanishes with it, ``cache`` is kept between labs."""

    root: Path
    cache: Path

    @classmethod
    def from_environment(cls) -> Settings:
        """Read HEADROOM_LAB and HEADROOM_CACHE; raise LabError when the sockets would not fit into their address."""
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        cache = os.environ.get("HEADROOM_CACHE") or f"{caches}/headroom"
        settings = cls(
            root=Path(os.environ.get("HEADROOM_LAB") or DEFAULT_ROOT).absolute(),
            cache=Path(cache).expanduser().absolute() / "lab",
        )
        longest = len(os.fsencode(settings.run / "libvirt-admin-sock"))
        if longest > SOCKET_PATH_MAX:
            raise LabError(
                f"HEADROOM_LAB={settings.root} is too long: its sockets would need {longest} bytes of {SOCKET_PATH_MAX}"
            )
        return settings

    @property
    def run(self) -> Path:
        """The folder of the sockets."""
        return self.root / "run"

    @property
    def uri(self) -> str:
        """The libvirt URI, usable from outside the lab's namespaces."""
        return f"qemu+unix:///system?socket={self.run}/libvirt-sock"

    @property
    def uri_ro(self) -> str:
        """The same for a read-only connection."""
        return f"qemu+unix:///system?socket={self.run}/libvirt-sock-ro"

    @property
    def tag(self) -> str:
        """A short name of this lab for things that live outside its folder (its cgroup)."""
        return "headroom-lab-" + hashlib.sha256(os.fsencode(self.root)).hexdigest()[:8]
