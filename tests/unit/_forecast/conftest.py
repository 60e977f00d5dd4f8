# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Models of a whole fleet, each trained once."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def past():
    from .fleet import demand  # the collection is not importable before pytest has been configured

    return demand()


@pytest.fixture(scope="session")
def trees(past):
    from .fleet import fitted

    return fitted("trees", past)


@pytest.fixture(scope="session")
def network(past):
    from .fleet import fitted

    return fitted("network", past)
