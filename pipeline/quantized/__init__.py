"""A model in few bits, held against the model itself: made, measured, recovered."""
