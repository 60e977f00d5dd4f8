# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Endpoints as people write them, to the record that platforms want."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from .._core.errors import HeadroomError
from .._core.units import PPM
from .._platform.base import Endpoint
from .specs import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterable


def make_endpoints(given: Iterable[dict[str, Any]]) -> tuple[Endpoint, ...]:
    """From values that the argument spec ENDPOINTS has checked."""
    return tuple(
        Endpoint(
            name=one["name"],
            uri=one["uri"],
            host_set=one["host_set"],
            vcpus_reserved=one["vcpus_reserved"],
            memory_reserved_mib=one["memory_reserved_mib"],
            vcpus_allocation_ratio_ppm=round(one["vcpus_allocation_ratio"] * PPM),
            memory_allocation_ratio_ppm=round(one["memory_allocation_ratio"] * PPM),
            options={"read_only": "true"} if one["read_only"] else {},
        )
        for one in given
    )


def read_endpoints(given: Any) -> tuple[Endpoint, ...]:
    """From values that nobody has checked yet. Raises ``endpoint.invalid``."""
    checked = ArgumentSpecValidator(ENDPOINTS).validate({"endpoints": given})
    if checked.error_messages:
        raise HeadroomError(
            "endpoint.invalid",
            f"The endpoints cannot be read: {'; '.join(checked.error_messages)}.",
            advice="Give a list of mappings with at least name and uri.",
        )
    return make_endpoints(checked.validated_parameters["endpoints"])
