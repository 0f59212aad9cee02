"""What `benchmarks/run.py` measures, one module a topic."""
