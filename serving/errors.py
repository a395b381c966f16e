"""The one exception that user mistakes raise here: what is wrong, where, and how to mend it."""

from __future__ import annotations


class ServingError(ValueError):
    """Bad input to quantization or serving. ``str(error)`` is one line.

    Args:
        message: What is wrong.
        file: The file or folder it is in, if the message does not name it.
        remedy: What the user can do about it.
    """

    def __init__(
        self, message: str, *, file: object | None = None, remedy: str | None = None
    ) -> None:
        self.message, self.file, self.remedy = message, file, remedy
        super().__init__(self.to_line())

    def to_line(self) -> str:
        """``FILE: MESSAGE; REMEDY`` on one line, without the parts that are not there."""
        line = f"{self.file}: {self.message}" if self.file is not None else self.message
        return " ".join((f"{line}; {self.remedy}" if self.remedy else line).split())

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (self.message, self.file, self.remedy)


def _restored(message: str, file: object | None, remedy: str | None) -> ServingError:
    return ServingError(message, file=file, remedy=remedy)
