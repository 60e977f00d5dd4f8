# Copyright: (c) 2026, Headroom contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sphinx's settings for the docsite that `make docs` builds from the pages antsibull-docs writes."""

from __future__ import annotations

project = "headroom.fleet"
author = "Headroom contributors"
copyright = f"2026, {author}"  # noqa: A001 - Sphinx reads this name
html_title = "headroom.fleet"
extensions = ["sphinx_antsibull_ext"]
pygments_style = "ansible"
highlight_language = "YAML+Jinja"
html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_copy_source = False
html_use_modindex = False
default_role = "any"
