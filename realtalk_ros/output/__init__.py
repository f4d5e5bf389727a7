# SPDX-License-Identifier: Apache-2.0
"""What is shown and written: a web page, MP4 and CSV files, contact sheets, RViz, the console.

web page    web_display: its methods for nodes; web_server, with web_connections, web_security,
            web_messages and web_page_queue; avatar_list: what operators choose from
videos      mp4_writer; recording: where images and audio lie in one; recording_session: which
others      live_link (CSV), picture_file, contact_sheet, rviz_markers; console, figure_columns:
            for commands
"""
