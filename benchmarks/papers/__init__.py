"""Published results on MNIST, repeated with the package's own algorithms: `python -m
benchmarks.papers`.
"""
