"""Runs on disk: folders, atomic stage outputs with manifests, and the order of stages."""
