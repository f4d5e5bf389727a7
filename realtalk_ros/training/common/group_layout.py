# SPDX-License-Identifier: Apache-2.0
"""How many images a group of training images has, and in which order.

First the references, then for each pose its expressions; the pose's first one is the neutral
template.
"""

REFERENCES, POSES, EXPRESSIONS = 3, 2, 5
IMAGES = REFERENCES + POSES * EXPRESSIONS  # 13
GROUPS_PER_PERSON = 2  # in a row; painting a person takes as long as a dozen images
