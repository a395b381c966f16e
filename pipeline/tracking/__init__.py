"""MLflow as the tracking store: a projection of the run folder, logged once and caught up later.

What a stage logs is a pure function of its finished folder (`pipeline.tracking.projection`).
`Tracker` follows a run while it goes on and never disturbs it; `sync` logs what is missing.
"""

from pipeline.tracking.tracker import SyncResult, Tracker, sync

__all__ = ["SyncResult", "Tracker", "sync"]
