"""Bounds of what may be asked for; importing them costs nothing."""

#: Beyond these no machine gains anything, and memory or time run out.
MAX_THREADS, MAX_BATCH = 1024, 65_536
