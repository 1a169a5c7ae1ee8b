"""One run that can be stopped at any step: its state, its checkpoint, its logs."""
