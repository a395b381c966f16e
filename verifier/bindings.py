"""Spot and its BDD library, imported in the order that the PyPI wheel needs: spot, then buddy."""

# isort: skip_file
from typing import Any

import spot as _spot
import buddy as _buddy  # pyright: ignore[reportMissingImports]

# The bindings carry no types.
spot: Any = _spot
buddy: Any = _buddy
