"""One module per host: what a framework or loader needs beyond its arrays. Import the one you use.

Each knows batchmix, its own host, and no other host. The hosts of one framework share files:
`_loading`, `_count` and `torch_manifold` are PyTorch's, `composer_functional` is Composer's.
"""
