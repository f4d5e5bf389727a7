# SPDX-License-Identifier: Apache-2.0
"""A face on disk: its folder, its archive, and what its pictures say about themselves."""
