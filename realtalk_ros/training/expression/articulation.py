# SPDX-License-Identifier: Apache-2.0
"""How each phone is articulated: the tables of the coarticulation model.

Phones that look the same on the lips share a row. coarticulation.py turns the rows into ARKit
weights, and closes the lips in p, b and m and the lower lip in f and v, which no row here does.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.training.speech_data import phones as ph

# Articulators: jaw opening, spreading, pucker, funnel, lower lip down, upper lip up, tongue.
ARTICULATORS = ("jaw", "wide", "pucker", "funnel", "lower", "upper", "tongue")
# Target and dominance of each: vowels claim everything; a consonant claims what it needs (a stop
# behind the teeth leaves the lips to its neighbours: that is coarticulation).
TARGETS = {
    #       jaw   wide  puck  funn  lower upper tongue
    "SIL": (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "AA": (0.34, 0.05, 0.00, 0.00, 0.20, 0.08, 0.00),
    "AE": (0.28, 0.25, 0.00, 0.00, 0.24, 0.12, 0.00),
    "AH": (0.19, 0.06, 0.00, 0.03, 0.15, 0.06, 0.00),
    "EH": (0.21, 0.20, 0.00, 0.00, 0.19, 0.10, 0.00),
    "ER": (0.12, 0.00, 0.15, 0.28, 0.10, 0.08, 0.00),
    "IH": (0.12, 0.30, 0.00, 0.00, 0.16, 0.08, 0.00),
    "IY": (0.07, 0.50, 0.00, 0.00, 0.16, 0.10, 0.00),
    "AO": (0.26, 0.00, 0.25, 0.30, 0.10, 0.05, 0.00),
    "UH": (0.12, 0.00, 0.35, 0.25, 0.06, 0.04, 0.00),
    "UW": (0.08, 0.00, 0.62, 0.16, 0.03, 0.02, 0.00),
    "UE": (0.08, 0.00, 0.60, 0.16, 0.03, 0.02, 0.00),
    "OE": (0.16, 0.00, 0.40, 0.32, 0.08, 0.04, 0.00),
    "W": (0.06, 0.00, 0.70, 0.20, 0.02, 0.02, 0.00),
    "Y": (0.07, 0.40, 0.00, 0.00, 0.12, 0.08, 0.00),
    "R": (0.10, 0.00, 0.20, 0.30, 0.10, 0.06, 0.00),
    "L": (0.15, 0.10, 0.00, 0.00, 0.13, 0.05, 0.05),
    "T": (0.08, 0.15, 0.00, 0.00, 0.13, 0.06, 0.00),
    "K": (0.12, 0.08, 0.00, 0.00, 0.10, 0.05, 0.00),
    "TH": (0.10, 0.12, 0.00, 0.00, 0.16, 0.08, 0.18),
    "S": (0.05, 0.30, 0.00, 0.00, 0.20, 0.12, 0.00),
    "SH": (0.07, 0.00, 0.22, 0.48, 0.20, 0.14, 0.00),
    "P": (0.06, 0.05, 0.05, 0.00, 0.00, 0.00, 0.00),
    "F": (0.07, 0.08, 0.00, 0.00, 0.00, 0.12, 0.00),
    "HH": (0.14, 0.05, 0.00, 0.00, 0.10, 0.05, 0.00),
}
TARGETS["BH"] = TARGETS["P"]  # the lips do all but meet
_VOWEL = (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5)
DOMINANCE = {
    "SIL": (0.7, 0.5, 0.5, 0.5, 0.7, 0.7, 1.0),
    "W": (0.8, 1.0, 1.6, 1.2, 0.8, 0.8, 0.5),
    "Y": (0.6, 0.6, 0.4, 0.4, 0.5, 0.5, 0.5),
    "R": (0.6, 0.4, 0.6, 0.7, 0.5, 0.5, 0.5),
    "L": (0.5, 0.2, 0.15, 0.15, 0.4, 0.4, 1.0),
    "T": (0.7, 0.15, 0.12, 0.12, 0.4, 0.4, 0.5),
    "K": (0.4, 0.12, 0.12, 0.12, 0.2, 0.2, 0.5),
    "TH": (0.7, 0.2, 0.2, 0.2, 0.7, 0.6, 2.0),
    "S": (1.3, 0.3, 0.15, 0.15, 0.8, 0.8, 0.5),
    "SH": (1.2, 0.6, 0.8, 1.2, 1.0, 1.0, 0.5),
    "P": (1.0, 0.15, 0.1, 0.25, 1.0, 1.0, 0.5),
    "F": (1.0, 0.2, 0.15, 0.3, 1.0, 1.0, 0.5),
    "HH": (0.08, 0.05, 0.05, 0.05, 0.05, 0.05, 0.5),
}
DOMINANCE["BH"] = DOMINANCE["P"]
_VISEMES = {
    "B": "P", "M": "P", "V": "F", "DH": "TH", "D": "T", "N": "T", "G": "K", "NG": "K",
    "ZH": "SH", "CH": "SH", "JH": "SH", "Z": "S",
}  # fmt: skip
# For each phone the one whose row it has.
VISEME = {phone: _VISEMES.get(phone, phone) for phone in ph.PHONES}
DIPHTHONGS = {
    "AW": ("AA", "UH"), "AY": ("AA", "IH"), "EY": ("EH", "IY"), "OW": ("AO", "UW"),
    "OY": ("AO", "IY"),
}  # fmt: skip

ROW = {phone: i for i, phone in enumerate(TARGETS)}
TARGET_ROWS = np.array(list(TARGETS.values()), np.float32)  # (rows, articulators)
DOMINANCE_ROWS = np.array([DOMINANCE.get(phone, _VOWEL) for phone in TARGETS], np.float32)
