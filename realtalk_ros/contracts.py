"""What a face can be asked for, by nodes and commands alike."""

FPS = (1.0, 120.0)  # frames per second, from and to
SIZE = (64, 2048)  # pixels of a picture's height, likewise

SAMPLE_RATE = 16000  # Hz, what the network hears
