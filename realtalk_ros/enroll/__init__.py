"""A photo or a video of somebody becomes an avatar: tracking and fitting a face."""
