"""A run's champion before and after its weights are rounded, as a table."""

from __future__ import annotations

from benchmarks.learning.page import Table
from benchmarks.learning.tables import rate_cell
from pipeline.run_report.quantized import quantized as read
from pipeline.run_report.reading import Run


def quantized(run: Run) -> Table:
    """The stage ``quantize``; without rows if the run has none."""
    found = read(run)
    changes = {one.label: one for one in found.changes} if found else {}
    rows = [
        {
            "": f"{one.label}{', kept' if one.kept and changes else ''}",
            "answers proven correct": rate_cell(one.strict),
            "points on 16 bits": f"{change.strict} ({change.by_task})" if change else None,
            "lost": change.lost if change else None,
            "gained": change.gained if change else None,
            "paper score": rate_cell(one.paper),
            "divergence": change.drift if change else None,
            "perplexity": one.perplexity,
            "megabytes": one.megabytes,
            "bits per weight": one.bits,
        }
        for one in (found.rows if found else ())
        for change in [changes.get(one.label)]
    ]
    notes = []
    if found:
        beside = "beside the adapter" if found.separate else "with the adapter merged into them"
        notes = [
            f"{found.method}; {beside}. {found.answers} answers to tasks of "
            f"{' and '.join(found.splits)}, the same prompts and random numbers in every row. In "
            "brackets: 95 % over answers, and for differences over tasks, which takes answers to "
            "one task for alike. Divergence: of the next token's distribution from that of 16 "
            "bits along the champion's answers, nats per token. Perplexity: of neutral text. "
            f"The gate {'passed' if found.gate['passed'] else 'stayed shut'}."
        ]
    return Table(
        "The champion in few bits",
        "The stage `quantize` rounds the champion and asks both the same; where too much is lost "
        "a small adapter learns on the rounded weights to say what the champion says.",
        {
            "": "text",
            "answers proven correct": "rate",
            "points on 16 bits": "text",
            "lost": "count",
            "gained": "count",
            "paper score": "rate",
            "divergence": "number",
            "perplexity": "number",
            "megabytes": "number",
            "bits per weight": "number",
        },
        rows,
        notes,
    )
