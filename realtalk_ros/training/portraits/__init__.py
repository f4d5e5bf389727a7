# SPDX-License-Identifier: Apache-2.0
"""Path-traced portraits of synthetic people with Blender: `realtalk data portraits`."""
