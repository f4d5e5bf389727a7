"""How a face lives: speech, emotion, gaze, idle movement and head motion in one."""
