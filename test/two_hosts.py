# SPDX-License-Identifier: Apache-2.0
"""The robot and the GPU machine apart, by hand: two network namespaces joined by one link.

    sudo .venv/bin/python test/two_hosts.py

The face runs in one namespace; in the other one a robot speaks live and takes the compressed
images, over DDS through the link. Prints what came, how late, and what the link carried. Needs root
and iproute2; leaves nothing behind.
"""

import os
import signal
import subprocess
import sys
import time

import numpy as np

FACE, ROBOT, DOMAIN = "realtalk_face", "realtalk_robot", 99
SECONDS = 20


def sh(*commands):
    for command in commands:
        subprocess.run(command.split(), check=True)


def robot():
    """In its own namespace (this file, started again)."""
    from rclpy.qos import QoSProfile
    from sensor_msgs.msg import CompressedImage

    from ros_graph import RATE, Client, seconds, speech

    client, came = Client(DOMAIN, images=False), []
    client.node.create_subscription(
        CompressedImage, "face/image_raw/compressed",
        lambda m: came.append((seconds(m.header.stamp), time.time(), len(m.data))),
        QoSProfile(depth=10),
    )  # fmt: skip
    client.wait(lambda: came, 60, "images")
    client.wait_connected()
    client.spin(1.0)
    pcm = np.tile(speech(10.0), 2)[: SECONDS * RATE]
    with open("/sys/class/net/robot0/statistics/rx_bytes") as file:
        before = int(file.read())
    begin, end = client.speak(pcm, "far", chunk=0.02, lead=0.0)
    with open("/sys/class/net/robot0/statistics/rx_bytes") as file:
        rate = (int(file.read()) - before) * 8 / SECONDS / 1e6
    client.spin(1.0)
    images = np.array([row for row in came if begin + 1 < row[0] < end])
    late = (images[:, 1] - images[:, 0]) * 1e3
    expected = round((images[-1, 0] - images[0, 0]) * 25) + 1
    print(
        f"{len(images)} of {expected} images, {images[:, 2].mean() / 1e3:.0f} kB each, "
        f"{rate:.1f} Mbit/s on the link; received after their time by "
        f"{np.median(late):.0f} ms (p50), {np.percentile(late, 95):.0f} ms (p95), live speech"
    )
    client.close()


def main():
    if sys.argv[1:] == ["robot"]:
        return robot()
    env = dict(os.environ, ROS_DOMAIN_ID=str(DOMAIN), ROS_AUTOMATIC_DISCOVERY_RANGE="SUBNET")
    face = None
    sh(f"ip netns add {FACE}", f"ip netns add {ROBOT}")
    try:
        sh(
            "ip link add face0 type veth peer name robot0",
            f"ip link set face0 netns {FACE}",
            f"ip link set robot0 netns {ROBOT}",
        )
        ends = ((FACE, "face0", "10.77.0.1"), (ROBOT, "robot0", "10.77.0.2"))
        for space, device, address in ends:
            run = f"ip netns exec {space}"
            sh(
                f"{run} ip addr add {address}/24 dev {device}",
                f"{run} ip link set {device} up",
                f"{run} ip link set lo up",
                f"{run} ip link set {device} multicast on",
            )
        inside = ["ip", "netns", "exec"]
        face = subprocess.Popen(
            [*inside, FACE, sys.executable, "-m", "realtalk_ros.cli", "up"], env=env
        )
        done = subprocess.run([*inside, ROBOT, sys.executable, __file__, "robot"], env=env)
        return done.returncode
    finally:
        if face is not None:
            face.send_signal(signal.SIGINT)
            face.wait(10)
        sh(f"ip netns del {FACE}", f"ip netns del {ROBOT}")


if __name__ == "__main__":
    sys.exit(main())
