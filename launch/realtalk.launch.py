"""The talking face: expression and renderer node, and RViz if wanted.

    ros2 launch realtalk_ros realtalk.launch.py avatar:=default rviz:=true

Both are lifecycle nodes; they configure and activate themselves unless autostart:=false.
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
# Nodes that come when their argument is true: <argument>_node.
OPTIONAL = {
    "say": "Speak the texts that come on say",
    "display": "Serve the face as a web page on http://127.0.0.1:8080/",
    "audio_adapter": "Take the audio messages of other packages on audio_in",
    "microphone": "Let the face say what the microphone hears",
}


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
            DeclareLaunchArgument("size", default_value="", description="Height of images, pixels"),
            DeclareLaunchArgument(
                "policy",
                default_value="",
                choices=["", "replace", "queue"],
                description="What a new utterance does that begins before another has ended",
            ),
            DeclareLaunchArgument(
                "autostart",
                default_value="true",
                choices=["true", "false"],
                description="Configure and activate the nodes; false: leave that to a manager",
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="Start a node again that died",
            ),
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
                description="Show the face and its landmarks in RViz",
            ),
            *(
                DeclareLaunchArgument(
                    name, default_value="false", choices=["true", "false"], description=description
                )
                for name, description in OPTIONAL.items()
            ),
            OpaqueFunction(function=make_nodes),
        ]
    )


def make_nodes(context: LaunchContext) -> list[Node]:
    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    values: dict = {name: given(name) == "true" for name in ("use_sim_time", "autostart")}
    values.update({name: given(name) for name in ("avatar", "device", "policy") if given(name)})
    values.update({name: kind(given(name)) for name, kind in (("fps", float), ("size", int))
                   if given(name)})  # fmt: skip
    parameters = [ParameterFile(LaunchConfiguration("params_file")), values]
    names = ["expression_node", "renderer_node"]
    names += [f"{name}_node" for name in OPTIONAL if given(name) == "true"]
    names += ["markers_node"] if given("rviz") == "true" else []
    nodes = [
        Node(
            package="realtalk_ros",
            executable=name,
            name=name,
            namespace=given("namespace"),
            parameters=parameters,
            output="screen",
            emulate_tty=True,
            respawn=given("respawn") == "true",
            respawn_delay=0.5,
        )
        for name in names
    ]
    prefix = f"/{given('namespace').strip('/')}".rstrip("/")
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", f"{SHARE}/config/realtalk.rviz"],
        remappings=[
            (f"/realtalk/face/{topic}", f"{prefix}/face/{topic}")
            for topic in ("image_raw", "markers")
        ],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return [*nodes, rviz]
