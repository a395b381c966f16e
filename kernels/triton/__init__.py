"""CUDA implementations of the operations, in Triton. `import triton` must succeed."""
