"""Where frames go: a web page, MP4 files, RViz."""
