# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates the expression-to-face network."""
