# SPDX-License-Identifier: Apache-2.0
"""Speech to facial expressions, on the robot.

pipeline    chunks of speech to timed expressions, by preparation: lips that part before speech
predicted_expression  what the network makes of a whole recording
onnx_model  the network; eight_bits: whether it is faster with weights of 8 bits
"""
