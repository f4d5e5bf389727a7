"""The talking face: expression and renderer node, and RViz if wanted.

    ros2 launch realtalk_ros realtalk.launch.py avatar:=default rviz:=true

An argument that is not given leaves the value of the parameter file as it is.
"""

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.descriptions import ParameterFile

SHARE = get_package_share_directory("realtalk_ros")


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "namespace", default_value="realtalk", description="Namespace of nodes and topics"
            ),
            DeclareLaunchArgument(
                "avatar", default_value="", description="Bundled avatar's name, or an avatar folder"
            ),
            DeclareLaunchArgument("fps", default_value="", description="Frames per second"),
            DeclareLaunchArgument(
                "device",
                default_value="",
                choices=["", "cpu", "cuda", "tensorrt"],
                description="Where the networks run",
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value=f"{SHARE}/config/realtalk.yaml",
                description="Parameter file (YAML)",
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                choices=["true", "false"],
                description="Take the time from /clock",
            ),
            DeclareLaunchArgument(
                "rviz",
                default_value="false",
                choices=["true", "false"],
                description="Show the face in RViz",
            ),
            OpaqueFunction(function=make_nodes),
        ]
    )


def make_nodes(context: LaunchContext) -> list[Node]:
    given = {
        name: LaunchConfiguration(name).perform(context)
        for name in ("namespace", "avatar", "fps", "device", "use_sim_time")
    }
    values: dict = {"use_sim_time": given["use_sim_time"] == "true"}
    values.update({name: given[name] for name in ("avatar", "device") if given[name]})
    if given["fps"]:
        values["fps"] = float(given["fps"])
    parameters = [ParameterFile(LaunchConfiguration("params_file")), values]
    nodes = [
        Node(
            package="realtalk_ros",
            executable=name,
            name=name,
            namespace=given["namespace"],
            parameters=parameters,
            output="screen",
            emulate_tty=True,
        )
        for name in ("expression_node", "renderer_node")
    ]
    topic = f"/{given['namespace'].strip('/')}/face/image_raw".replace("//", "/")
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", f"{SHARE}/config/realtalk.rviz"],
        remappings=[("/realtalk/face/image_raw", topic)],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return [*nodes, rviz]
