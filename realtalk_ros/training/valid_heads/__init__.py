# SPDX-License-Identifier: Apache-2.0
"""Pictures of the people of VALID, moved and at rest, with Blender: `realtalk data valid`."""
