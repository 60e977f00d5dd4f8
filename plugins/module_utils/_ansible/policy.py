# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sizing policy's file, as jobs want it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._core.errors import HeadroomError


def read_policy(params: dict[str, Any]) -> dict[str, str]:
    """Keyword arguments of jobs that heed a policy; none for the shipped one. Raises ``policy.unreadable``."""
    path = params["policy"]
    if not path:
        return {}
    try:
        return {"policy_text": Path(path).read_text(encoding="utf-8"), "policy_name": path}
    except (OSError, ValueError) as error:
        raise HeadroomError(
            "policy.unreadable",
            f"The sizing policy {path} cannot be read: {error}.",
            advice="Check the option policy, or the variable headroom_policy.",
        ) from error
