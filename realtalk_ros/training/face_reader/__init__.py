# SPDX-License-Identifier: Apache-2.0
"""Trains the network that tells enrolment a face's shape."""
