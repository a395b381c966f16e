"""Memory for LoRA adapters: rows of equal pages, handed out and taken back one by one."""

from __future__ import annotations

import math

import torch

from serving.errors import ServingError

ZERO_PAGE = 0
"""A page that always holds zeros: what an adapter leaves out points to it."""

_START = 64


class PagePool:
    """Pages of adapter weights; a page's number stays valid until it is freed.

    Attributes:
        data: [pages, page_size]; replaced by a larger copy when the pool grows.
    """

    def __init__(
        self,
        page_size: int,
        dtype: torch.dtype = torch.float16,
        limit: int | None = None,
    ) -> None:
        """An empty pool.

        Args:
            page_size: Elements per page, a multiple of 16.
            dtype: float16, bfloat16 or float32.
            limit: Most pages, the one of zeros included; None grows without end.

        Raises:
            ValueError: A page size that the kernels do not take.
        """
        if page_size < 16 or page_size % 16:
            raise ValueError(f"a page size of {page_size} is no multiple of 16")
        self.limit = limit
        start = _START if limit is None else limit
        self.data = torch.zeros(start, page_size, dtype=dtype)
        self._free = list(range(start - 1, ZERO_PAGE, -1))

    @property
    def page_size(self) -> int:
        """Elements per page."""
        return self.data.shape[1]

    @property
    def free(self) -> int:
        """Pages that can be had without growing."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Pages in use, the one of zeros not counted."""
        return self.data.shape[0] - 1 - len(self._free)

    def pages_of(self, elements: int) -> int:
        """Pages that a row of so many elements takes."""
        return math.ceil(elements / self.page_size)

    def store(self, rows: torch.Tensor) -> torch.Tensor:
        """Put each row of a matrix into pages of its own.

        Args:
            rows: [rows, elements], any float type.

        Returns:
            Page numbers, int32 [rows, pages per row].

        Raises:
            ServingError: The pool is full, or a number does not fit its type.
        """
        count, width = rows.shape
        per_row = self.pages_of(width)
        held = rows.to(self.data.dtype)
        if not bool(torch.isfinite(held).all()):
            kind = str(self.data.dtype).removeprefix("torch.")
            raise ServingError(
                f"an adapter's weights are not finite in {kind}",
                remedy="check the adapter, or keep adapters in float32",
            )
        pages = self._take(count * per_row)
        tail = per_row * self.page_size - width
        padded = torch.nn.functional.pad(held, (0, tail))
        self.data[pages.long()] = padded.reshape(-1, self.page_size)
        return pages.reshape(count, per_row)

    def release(self, pages: torch.Tensor) -> None:
        """Take pages back; the page of zeros may be among them."""
        self._free.extend(page for page in pages.flatten().tolist() if page != ZERO_PAGE)

    def _take(self, count: int) -> torch.Tensor:
        if count > len(self._free):
            if self.limit is not None:
                raise ServingError(
                    f"no room for an adapter: {count} pages needed, {len(self._free)} free",
                    remedy="unload an adapter or allow more memory for them",
                )
            self._grow(count - len(self._free))
        taken = [self._free.pop() for _ in range(count)]
        return torch.tensor(taken, dtype=torch.int32)

    def _grow(self, least: int) -> None:
        have = self.data.shape[0]
        more = max(least, have)
        self.data = torch.cat([self.data, self.data.new_zeros(more, self.page_size)])
        self._free[:0] = range(have + more - 1, have - 1, -1)
