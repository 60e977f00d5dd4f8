# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one idiom for third-party libraries: imported where they are needed, missing with a clear word."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import HeadroomError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Import name -> the distribution to install, where the two differ.
DISTRIBUTIONS = {"libvirt": "libvirt-python", "libvirt_qemu": "libvirt-python", "yaml": "PyYAML"}


@contextmanager
def needs(*libraries: str) -> Iterator[None]:
    """Turn "No module named LIBRARY" into an error that says what to install.

    Only the named libraries count as missing: when a dependency of theirs is broken, its own ImportError goes through.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in libraries:
            raise
        distribution = DISTRIBUTIONS.get(missing, missing)
        raise HeadroomError(
            "library.missing",
            f"The Python library {missing} is not installed.",
            advice=f"Install it for the interpreter that runs the controller: python3 -m pip install {distribution}.",
            library=missing,
        ) from error
