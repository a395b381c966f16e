"""Vocabulary, controllers, worlds as transition systems, specifications and model checking."""
