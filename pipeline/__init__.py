"""The ``specdrive`` command, generation with language models, runs and reports."""
