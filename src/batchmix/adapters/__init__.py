"""One module per host: what a framework or loader needs beyond its arrays. Import the one you use.

Each uses batchmix's public names and its own host, and none knows of another.
"""
