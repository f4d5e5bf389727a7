# SPDX-License-Identifier: Apache-2.0
"""Builds training data from videos of talking heads."""
