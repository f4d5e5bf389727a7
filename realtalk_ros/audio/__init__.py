# SPDX-License-Identifier: Apache-2.0
"""Sound in, and what the networks take of it.

networks    log_mel: the features, by pcm (samples) and resampler
files       media_files; sound_findings, stated_length: what of one is not heard as it was meant
text        text_to_speech: sentence by sentence; ssml, unicode_scripts: what of a text is said;
            espeak, by espeak_library and espeak_voices: the engine
live        microphone; message_adapters: other packages' messages; arrival_timeline: when those
            are played; sample_clock: whether a sound card is fast
"""
