# SPDX-License-Identifier: Apache-2.0
"""What is shown and played when.

expression_node     message_merger: messages that come by two subscriptions, once each; turn_taking:
                    whose turn it is, by turn (an utterance of one sender), sender_identity,
                    scheduling (when a chunk is played), copies (which chunks came before),
                    interrupted_turns and utterance_ends
                    computing_load: whether the machine keeps up with the sound
renderer_node       face_playout: frames and sound until they are due, by jitter_buffer (what is
                    shown now), playout_delay (how much later than its time), audio_playout,
                    reset_pairs (interrupts that come twice) and speaking
                    quality_monitor: whether it does with the frames; adaptive_quality: what if not
                    other_clock: whether a machine's is off by seconds; mixed_expressions: whether
                    two nodes send some
both                clock: whether it was set
"""
