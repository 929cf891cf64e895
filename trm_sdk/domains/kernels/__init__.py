"""What the compiled engines of domains share: compiling with numba, and random numbers."""
