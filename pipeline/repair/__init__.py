"""Counterexample-guided repair: a failed answer, changed as little as it takes to pass.

`pipeline.repair.symbolic` edits the steps at fault; `pipeline.repair.asking` shows the model its
counterexample and lets it answer again.
"""
