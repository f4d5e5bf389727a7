"""Subcommands of `realtalk`, one file each; cli.py lists them."""
