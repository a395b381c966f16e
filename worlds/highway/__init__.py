"""Simulated worlds on top of highway-env, also as gymnasium environments.

Importing this registers ``specdrive/highway-junction-v0``, ``specdrive/highway-roundabout-v0``
and ``specdrive/highway-crossing-v0``; see `worlds.highway.environment`.
"""

from __future__ import annotations

from gymnasium.envs import registration

IDS = {
    "specdrive/highway-junction-v0": ("junction", "traffic_light"),
    "specdrive/highway-roundabout-v0": ("roundabout", "roundabout"),
    "specdrive/highway-crossing-v0": ("crossing", "pedestrian_crossing"),
}
"""Registered environments: shape and the scenario that is simulated unless another is named."""


def register() -> None:
    """Make the environments known to gymnasium. May be called again."""
    for name, (shape, scenario) in IDS.items():
        if name not in registration.registry:
            registration.register(
                id=name,
                entry_point="worlds.highway.environment:HighwayEnvironment",
                kwargs={"shape": shape, "scenario": scenario},
            )


register()
