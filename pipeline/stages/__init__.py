"""The stages of a run. Each module has ``run(context)``, ``SECTIONS`` and ``NEEDS``.

``SECTIONS`` are the sections of the configuration that its results depend on, ``NEEDS`` the
stages of the same round whose folders it reads (see `pipeline.stages.context`).
"""
