"""One self-contained page per run: `write_report`.

The page is a pure projection of the finished stage folders. It needs no network, no other file and
no script to be read, so that it opens from disk and inside a sandboxed artefact viewer.
"""

from pipeline.run_report.page import run_page, write_report

__all__ = ["run_page", "write_report"]
