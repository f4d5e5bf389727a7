# SPDX-License-Identifier: Apache-2.0
"""A photo or a video of somebody becomes an avatar: tracking and fitting a face."""
