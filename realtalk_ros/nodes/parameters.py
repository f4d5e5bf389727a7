"""When a parameter may be changed, and the parameters that several nodes have."""

from __future__ import annotations

from realtalk_ros import contracts

# When a parameter may be changed.
NEVER, UNCONFIGURED, LIVE = "never", "unconfigured", "live"
# Parameters that more than one node has: (default, description, range or None, when to change).
AVATAR = ("default", "Bundled avatar's name, or an avatar folder", None, LIVE)
DEVICE = ("cpu", "Where the networks run: cpu, cuda or tensorrt", None, LIVE)
MODEL_DIR = (
    "", "Folder of the .onnx files; empty: the ones that come with the package", None, LIVE
)  # fmt: skip
FPS = (25.0, "Frames per second", contracts.FPS_RANGE, LIVE)
