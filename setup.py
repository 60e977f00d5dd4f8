# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of the wheel headroom-fleet: plugins/module_utils under the name headroom_fleet.

All else stands in pyproject.toml. The list is computed here because no table of setuptools both renames a folder and
finds the packages below it.
"""

from __future__ import annotations

from setuptools import find_packages, setup

HERE = "plugins/module_utils"
FOUND = find_packages(HERE, exclude=("_ansible", "_ansible.*"))  # needs ansible, which the wheel does not

setup(
    package_dir={"headroom_fleet": HERE},
    packages=["headroom_fleet", *(f"headroom_fleet.{name}" for name in FOUND)],
)
