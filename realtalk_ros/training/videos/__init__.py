# SPDX-License-Identifier: Apache-2.0
"""Training data from videos of talking people, and how a network's lips compare with theirs."""
