# SPDX-License-Identifier: Apache-2.0
"""A talking face for robots: speech in on a topic, a lip-synced face out as images."""

import os
from pkgutil import extend_path

# The generated messages live in another folder of the same name when run from the source root.
__path__ = extend_path(__path__, __name__)

__version__ = "0.2.0"

# ONNX Runtime reports home, from 1.29 on: when it is imported it makes up an identifier of the
# machine under the user's cache, and then sends events. It asks for this while it is imported,
# so it is set here, before any module of this package can import it; child processes inherit it.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# NumPy's own threads (those of OpenBLAS, which reads this while it is imported) wait busily for the
# next product for milliseconds, in the way of the threads that render. Products here are small.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
