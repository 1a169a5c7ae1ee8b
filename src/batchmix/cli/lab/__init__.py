"""Data, models, training and trials: what `compare`, `train`, `tune` and `predict` are made of."""
