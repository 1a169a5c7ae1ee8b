"""A trained model as a folder: written, read, used, published."""
