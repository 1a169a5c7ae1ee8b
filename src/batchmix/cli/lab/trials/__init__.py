"""Many runs: a process each, here or on Ray, and a store of what came of them."""
