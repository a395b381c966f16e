"""What the loop learns, from finished runs: ``python -m benchmarks.learning RUN [RUN...]``."""
