# SPDX-License-Identifier: Apache-2.0
"""A face on disk: its folder, its archive, and what its pictures say about themselves.

folder      avatar, by avatar_files and avatar_yaml; sections of that: temperament,
            flat_mouth_colours; avatar_names: which folder a name means
archive     one file, to give away
pictures    image_decoding, transparency; provenance: what they say about themselves
"""
