# SPDX-License-Identifier: Apache-2.0
"""What is shown and written: a web page, MP4 and CSV files, contact sheets, RViz, the console."""
