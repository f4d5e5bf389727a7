# SPDX-License-Identifier: Apache-2.0
"""A photo or a video of somebody becomes an avatar: tracking and fitting a face.

avatars     photo_to_avatar, video_to_avatar; avatar_writer: their folders;
            mouth_motion: how far somebody in a video opens the mouth
pictures    video_reader, interlaced_film, film_colours; photo_colours, srgb
checks      photo_checks, appearance_checks: of a photograph; one_person, missing_pictures: of a
            video; same_person: of two photographs; face_embedding: how alike two faces are
faces       face_detector, by mediapipe_models, landmarker_file and native_output; mediapipe_points:
            what it finds
shape       fit: of the face model to these points; face_reader: better, by a network;
            mesh_tracker: in each frame of a video; face_tracks: what is known of these
templates   framing, picture_layout: how a picture becomes an avatar's frame;
            rest_expression: how its face comes to rest
"""
