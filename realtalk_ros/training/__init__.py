# SPDX-License-Identifier: Apache-2.0
"""All that trains networks or makes their data. Nothing that runs on the robot imports it."""
