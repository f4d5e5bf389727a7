"""The ROS 2 nodes, one file each, and what they share."""
