# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that replays read and write beside the stores."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from .._core.errors import HeadroomError


def progress_to(path: str) -> Callable[[str], None]:
    """What appends a line to a file; without one, what does nothing. It raises ``progress.unwritable``."""

    def tell(line: str) -> None:
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise HeadroomError(
                "progress.unwritable", f"The file {path} cannot be written: {error}.", advice="Leave it out."
            ) from error

    return tell if path else lambda _line: None


def protocol_text(path: str) -> str:
    """The text of a protocol file; "" without one. Raises ``protocol.unreadable``."""
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise HeadroomError(
            "protocol.unreadable",
            f"The protocol {path} cannot be read: {error}.",
            advice="Leave it out to derive one.",
        ) from error
