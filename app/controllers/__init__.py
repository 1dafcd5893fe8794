"""What moves the world towards what was asked: watch, decide, commit. Knows no HTTP and no SQL."""
