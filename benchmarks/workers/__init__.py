"""The measured sides: programs that a benchmark starts, each in a process of its own, and gives turns through a pipe.

Those called `official_*` run in the original's environment, which holds neither pydantic nor PyAV: they import no more than the
standard library, what the original needs, and this package.
"""
