"""Video files to clips: frames and sound, read in one pass by PyAV with the FFmpeg in its wheel."""
