"""A search for policy and settings, with Optuna or Ray Tune."""
