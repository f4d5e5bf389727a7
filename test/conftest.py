"""Imported before every test: realtalk_ros must be there before onnxruntime is (its first lines say
why), which some tests import themselves."""

from pathlib import Path

import realtalk_ros  # noqa: F401


def pytest_collection_modifyitems(items):
    """Marks what runs ROS nodes or servers, and so mostly waits: run.sh runs the rest beside it."""
    graphs = {}
    for item in items:
        path = Path(item.fspath)
        if path not in graphs:
            source = path.read_text(encoding="utf-8")
            graphs[path] = any(w in source for w in ("ros_graph", "ROS_DOMAIN_ID", "chromium"))
        if graphs[path]:
            item.add_marker("graph")
