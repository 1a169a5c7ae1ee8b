"""CIFAR-10 on one GPU: what `gpu_evidence.py` trains, how, and what it keeps."""
