"""Layouts of other projects: checkpoints that come from them, and ours made to run there."""
