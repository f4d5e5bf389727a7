# SPDX-License-Identifier: Apache-2.0
"""A neural voice for the face: piper_ros (https://github.com/mgonzs13/piper_ros) beside the talking
face, its sound through the adapter. Its own player stays off: the face hands the sound out in time.

    ros2 launch realtalk_ros piper.launch.py
    ros2 action send_goal /say audio_common_msgs/action/TTS "{'text': 'Hello, I am a robot.'}"

tts_ros is wired the same way: its node publishes the same message on `audio`.
"""

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import SetRemap


def include(package: str, file: str, **arguments: str) -> IncludeLaunchDescription:
    path = f"{get_package_share_directory(package)}/launch/{file}"
    return IncludeLaunchDescription(
        PythonLaunchDescriptionSource(path), launch_arguments=arguments.items()
    )


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            include("piper_bringup", "piper.launch.py", launch_audio_player="False"),
            SetRemap("audio_in", "/audio/out"),  # where piper.launch.py has piper speak
            include("realtalk_ros", "realtalk.launch.py", audio_adapter="true", display="true"),
        ]
    )
