"""Runtimes: what steps a model. One protocol (`base.Runtime`), two implementations."""
