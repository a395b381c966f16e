"""The one exception that user mistakes raise: what is wrong, where, and how to mend it."""

from __future__ import annotations


class InputError(ValueError):
    """Bad input. ``str(error)`` is one line naming file, place and remedy.

    Args:
        problem: What is wrong.
        file: The file it is in, or None when the input did not come from a file.
        place: Where in the file: ``line 3``, ``transition 2``, ``specification phi_5``.
        remedy: What the user can do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: object | None = None,
        place: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.file, self.place, self.remedy = problem, file, place, remedy
        where = ": ".join(str(part) for part in (file, place) if part)
        line = f"{where}: {problem}" if where else problem
        super().__init__(" ".join((f"{line}; {remedy}" if remedy else line).split()))

    def located(self, file: object) -> InputError:
        """The same error, with the file named if it was not."""
        if self.file is not None:
            return self
        return InputError(self.problem, file=file, place=self.place, remedy=self.remedy)


class TimeLimitError(Exception):
    """A check ran past its time limit; its verdict is ``unknown``."""
