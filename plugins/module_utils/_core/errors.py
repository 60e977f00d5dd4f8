# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One error class for all a user can be told: a code for machines, a message for people, advice for operators."""

from __future__ import annotations


class HeadroomError(Exception):
    """Something the user must know.

    ``code`` is stable and dotted ("plan.edited"); ``message`` says what happened, ``advice`` what to do about it.
    ``details`` holds plain JSON values and never a secret.
    """

    def __init__(self, code: str, message: str, *, advice: str = "", **details: object) -> None:
        super().__init__(code, message)  # both, so that it survives pickling
        self.code = code
        self.message = message
        self.advice = advice
        self.details = details

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.message} {self.advice} [{self.code}]" if self.advice else f"{self.message} [{self.code}]"


class EndpointError(HeadroomError):
    """A platform's endpoint does not answer, or broke off: worth another try, unlike a refusal."""


class RefusedError(HeadroomError):
    """The platform, the guest or a rule says no to this one act; the rest of the plan goes on."""


class UnreadableError(RefusedError):
    """A VM cannot be read now: nothing is known of it, and so nothing is concluded."""
