"""Rows to batches: cropped, mixed, cached, in worker processes."""
