"""How a face behaves: speech, emotion, gaze, idle motion and head motion in one."""
