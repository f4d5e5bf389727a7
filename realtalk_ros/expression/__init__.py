"""Speech to facial expressions, on the robot."""
