"""A talking face for robots: speech in on a topic, a lip-synced face out as images."""

from pkgutil import extend_path

# The generated messages live in another folder of the same name when run from the source root.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
