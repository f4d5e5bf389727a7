# SPDX-License-Identifier: Apache-2.0
"""The ROS 2 nodes, `*_node.py`, one file each, and what they are made of.

every node  lifecycle, by parameters, media_time, diagnostics and problems; spin: its main(), by
            ros_arguments, params_file and fastdds_profile; qos, worker
messages    subscriptions, by message_info; message_content; paced_speech: speech that is sent;
            duplicate_nodes, unmatched_endpoints: what is wrong with others; late_network
a face      expression_node: expression_engine, interrupt_service; renderer_node: render_loop,
            audio_output, image_publisher, face_loader, face_commands and look_at; both:
            background_loader, face_settings
launching   launch_arguments, respawn

expression_node, renderer_node: the face
speech_node, say_node, microphone_node, audio_adapter_node: what it says
display_node, recorder_node, markers_node: where it is shown
"""
