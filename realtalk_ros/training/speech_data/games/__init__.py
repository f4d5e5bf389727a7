# SPDX-License-Identifier: Apache-2.0
"""Corpora that are the dialogue of freely licensed games."""
