# SPDX-License-Identifier: Apache-2.0
"""Where frames go: a web page, MP4 files, RViz."""
