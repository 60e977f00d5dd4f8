# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``make bench`` runs."""

from __future__ import annotations

import sys

from bench_plan import main

sys.exit(main())
