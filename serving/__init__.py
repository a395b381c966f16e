"""Small and fast models: quantization, checkpoints and the engine that serves them."""
