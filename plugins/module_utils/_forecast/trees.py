# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gradient-boosted trees (LightGBM) as text: trained to the same bytes everywhere, read once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from .._core.needs import needs

# One thread, rows first: the same bytes on every machine with this version of the library.
REPRODUCIBLE: dict[str, Any] = {"num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}


def library() -> str:
    """Name and version of what trains here."""
    with needs("lightgbm"):
        import lightgbm
    return f"lightgbm {lightgbm.__version__}"


@lru_cache(maxsize=16)
def booster(text: str) -> Any:
    """The trees of a text, ready to be asked."""
    with needs("lightgbm"):
        import lightgbm
    return lightgbm.Booster(model_str=text)
