"""pytest puts this folder on the path because this file is here: tests can import `oracles`."""
