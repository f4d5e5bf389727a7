# SPDX-License-Identifier: Apache-2.0
"""Renders pictures of synthetic people."""
