# SPDX-License-Identifier: Apache-2.0
"""Constants that networks, avatars, nodes and trainings must agree on.

The 52 expression weights are in face_model/arkit.py, the 68 landmarks (and which of them are lips)
in face_model/landmarks.py.
"""

# Settings of a face
FPS_RANGE = (1.0, 120.0)  # frames per second, from and to
SIZE_RANGE = (64, 2048)  # height of an image in pixels, likewise
LEAD_RANGE = (0.0, 30.0)  # s before the end of its playback that sound is sent, likewise
# Of an utterance that begins, or a text that comes, before the last one has ended: it replaces that
# one, or waits.
POLICIES = ("replace", "queue")
# Device -> providers of ONNX Runtime, which uses the next one for operators that the one before
# lacks.
PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
DEVICES = tuple(PROVIDERS)

# Audio input of the networks
SAMPLE_RATE = 16000  # Hz
MEL_RATE = 100  # log-mel frames per second
N_MELS = 80  # bands of a log-mel frame

# The expression network
MEL_STEP = 2  # log-mel frames a step, 20 ms
EXPRESSION_RATE = MEL_RATE // MEL_STEP  # 50 frames of expression per second
PRIOR_FILE, STEP_FILE = "expression_prior.onnx", "expression_step.onnx"
EXPRESSION_VERSION = "4"  # of the interface of these files
# The file of each look-ahead that the nodes may be set to, s: those after the first read the
# weights of STEP_FILE. (The exact look-ahead, 162.5 ms of the first, is in their metadata:
# `Dims.look_ahead`, training/expression/dims.py.)
LOOK_AHEAD = 0.16
STEP_FILES = {
    LOOK_AHEAD: STEP_FILE, 0.1: "expression_step_100.onnx", 0.06: "expression_step_60.onnx",
}  # fmt: skip
# Computes with weights of 8 bits, made of those of STEP_FILE, whose place it may take
# (expression/eight_bits.py).
EIGHT_BIT_FILE = "expression_step_8bit.onnx"
BASE_DIGEST = "base_sha256"  # the checksum of that STEP_FILE, in the metadata of the other files
LIP_POINTS = 20  # landmarks that it predicts, 48 to 67

# The renderer's networks
CROP_SIZE = 256  # side of the face crop that they take and give, pixels
# The part of it that the generator draws finely, left, top, side in pixels: multiples of 8, which
# is a cell of the coarser features. The lips of a face that is framed as framing.py does lie in it
# however far the mouth opens.
MOUTH_CROP = (64, 104, 128)
COARSE_SIZE = 64  # side of what the generator makes of the rest of the face crop
ENCODER_FILE, ALIGNER_FILE = "renderer_encode.onnx", "renderer_align.onnx"
GENERATOR_FILE = "renderer_generate.onnx"
GENERATOR_HALF_FILE = "renderer_generate_half.onnx"  # for GPUs, if it exists
GENERATOR_FILES = (GENERATOR_FILE, GENERATOR_HALF_FILE)
# The files that a generator was trained with: its metadata have their checksums by these names.
GENERATOR_BASES = {"realtalk.encode": ENCODER_FILE, "realtalk.align": ALIGNER_FILE}
GENERATOR_OUTPUTS = ("change", "mask", "mouth")
RENDERER_FORMATS = {ENCODER_FILE: "8", ALIGNER_FILE: "6", GENERATOR_FILE: "9"}  # of the ONNX files
# The encoder's outputs; the latter depend on the reference image alone. The generator takes all but
# the finest.
TEMPLATE_FEATURES = ("features_16", "features_8", "features_4", "features_2")
UNREAD_FEATURES = ("features_2",)
REFERENCE_FEATURES = ("keys", "values", "mouth_colours")
FEATURES = TEMPLATE_FEATURES + REFERENCE_FEATURES

# An avatar
AVATAR_FORMAT = 1  # of avatar.yaml
REFERENCE_FRAMES, REFERENCE_RATE = 50, 25  # the window of own expressions: 2 s at 25 Hz
REFERENCE_SHAPE = (REFERENCE_FRAMES, 52)  # frames, weights


def mouth_crop(size: int = CROP_SIZE) -> tuple[slice, slice]:
    """Rows and columns of MOUTH_CROP in an array of `size` x `size` that covers the face crop."""
    left, top, side = (value * size // CROP_SIZE for value in MOUTH_CROP)
    return slice(top, top + side), slice(left, left + side)
