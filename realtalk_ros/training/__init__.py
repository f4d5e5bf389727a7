# SPDX-License-Identifier: Apache-2.0
"""All that trains networks or makes their data. Nothing that runs on the robot imports it.

Every command of `realtalk data` and `realtalk train`, and most of `realtalk evaluate`, is a module
here with `add_arguments` and `run`; cli.py has the table. Where to begin to read:

    expression/   the speech-to-expression network: train.py; what it learns from: sampler.py, of
                  speech that coarticulation.py moves a face to, and video_dataset.py; losses.py
    renderer/     the expression-to-face network: train.py, trainer.py; what a batch is: samples.py;
                  losses.py; people: photo_pairs.py, real_people.py; evaluate.py
    face_reader/  the network that tells enrolment a face's shape: train.py
    speech_data/  speech with phone times: build.py, corpora.py, alignment.py
    synthetic/    pictures of synthetic people: face_dataset.py, head_renderer.py, make_avatar.py
    videos/       what videos of people teach: build.py both networks, mouth_data.py the expression
                  network; how its lips compare with theirs: evaluate_talking.py
    portraits/    path-traced portraits with Blender: make_portrait.py
    valid_heads/  pictures of the people of VALID with Blender: make_pictures.py
    common/       what they share
"""
