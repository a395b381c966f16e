"""One module per sub-command of ``specdrive``; each defines ``command``."""
