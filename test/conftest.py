"""Imported before every test: realtalk_ros must be there before onnxruntime is (its first lines say
why), which some tests import themselves."""

import realtalk_ros  # noqa: F401
