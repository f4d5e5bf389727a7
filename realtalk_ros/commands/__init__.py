# SPDX-License-Identifier: Apache-2.0
"""Subcommands of `realtalk`, one file each (cli.py lists them), and what they share."""
