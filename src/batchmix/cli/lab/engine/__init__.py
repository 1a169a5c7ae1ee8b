"""Models, optimizers and the training loop, on Lightning Fabric; how good a model is."""
