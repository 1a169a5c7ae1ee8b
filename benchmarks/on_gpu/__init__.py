"""The parts of `gpu.py`: what is timed on a GPU, and how."""
