"""Blocks of a paged cache: handed out, shared between sequences, taken back."""

from __future__ import annotations

from serving.errors import ServingError


class BlockAllocator:
    """Numbers of blocks, each with a count of the sequences that hold it."""

    def __init__(self, blocks: int, limit: int | None = None) -> None:
        """All blocks free.

        Args:
            blocks: How many there are at the start.
            limit: How many there may be; None lets `grow` go on without end.
        """
        self._holders = [0] * blocks
        self._free = list(range(blocks - 1, -1, -1))
        self._limit = limit

    @property
    def blocks(self) -> int:
        """How many there are."""
        return len(self._holders)

    @property
    def limit(self) -> int | None:
        """How many there may be."""
        return self._limit

    @property
    def free(self) -> int:
        """How many nobody holds."""
        return len(self._free)

    def holders(self, block: int) -> int:
        """How many sequences hold a block."""
        return self._holders[block]

    def take(self) -> int:
        """A free block, held once.

        Raises:
            ServingError: None is free.
        """
        if not self._free:
            raise ServingError(
                "no free block of keys and values", remedy="end a sequence or allow more memory"
            )
        block = self._free.pop()
        self._holders[block] = 1
        return block

    def share(self, block: int) -> None:
        """One more sequence holds a block.

        Raises:
            ValueError: Nobody holds it.
        """
        if not self._holders[block]:
            raise ValueError(f"block {block} is free")
        self._holders[block] += 1

    def drop(self, block: int) -> None:
        """One sequence fewer holds a block; it is free when none does.

        Raises:
            ValueError: Nobody holds it.
        """
        if not self._holders[block]:
            raise ValueError(f"block {block} is free")
        self._holders[block] -= 1
        if not self._holders[block]:
            self._free.append(block)

    def grow(self, more: int) -> None:
        """Add blocks with the next numbers.

        Raises:
            ServingError: Beyond the limit.
        """
        have = len(self._holders)
        if self._limit is not None and have + more > self._limit:
            raise ServingError(
                f"no room for {have + more} blocks of keys and values, the limit is {self._limit}",
                remedy="end a sequence or allow more memory",
            )
        self._holders += [0] * more
        self._free[:0] = range(have + more - 1, have - 1, -1)
