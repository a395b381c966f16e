"""``specdrive rules``: the shipped rule books."""

from __future__ import annotations

import click

from pipeline.commands import options
from verifier.rules import RuleBook, load_rules, shipped_rules
from verifier.vocabulary import load_vocabulary


@click.group("rules")
def command() -> None:
    """List, show and check rule books."""


@command.command("list")
@options.vocabulary_option
@options.json_option
def list_rules(vocabulary: str, as_json: bool) -> None:
    """The shipped rule books."""
    from pipeline.tables import make_console, plain_table

    words = load_vocabulary(vocabulary)
    books = [load_rules(name, words) for name in shipped_rules()]
    if as_json:
        options.print_json(
            [{"name": b.name, "rules": len(b.specifications), "text": b.text} for b in books]
        )
        return
    table = plain_table()
    for heading in ("name", "rules", "what it is"):
        table.add_column(heading)
    for book in books:
        table.add_row(book.name, str(len(book.specifications)), book.text)
    make_console().print(table)


@command.command("show")
@click.argument("name")
@options.vocabulary_option
@options.json_option
def show_rules(name: str, vocabulary: str, as_json: bool) -> None:
    """The rules of one book (a shipped name or a file)."""
    from rich.text import Text

    from pipeline.tables import make_console, plain_table

    book = load_rules(name, load_vocabulary(vocabulary))
    if as_json:
        options.print_json(_to_json(book))
        return
    console = make_console()
    console.print(Text(f"{book.name}: {book.text}"))
    table = plain_table()
    for heading in ("rule", "kind", "formula", "what it says"):
        table.add_column(heading, no_wrap=heading in ("rule", "kind"), overflow="fold")
    for s in book.specifications:
        scope = f" [where there is {s.applies_if}]" if s.applies_if else ""
        table.add_row(s.id, s.kind, Text(s.formula), Text(s.text + scope))
    console.print(table)


@command.command("check")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@options.vocabulary_option
@options.json_option
def check_rules(names: tuple[str, ...], vocabulary: str, as_json: bool) -> None:
    """Check that rule books are well formed; run ``specdrive audit`` for what they mean."""
    words = load_vocabulary(vocabulary)
    books = [load_rules(name, words) for name in names]
    if as_json:
        options.print_json([{"name": b.name, "hash": b.hash, "errors": []} for b in books])
        return
    for book in books:
        click.echo(f"{book.name}: {len(book.specifications)} rules, well formed")


def _to_json(book: RuleBook) -> dict[str, object]:
    return {
        "name": book.name,
        "text": book.text,
        "hash": book.hash,
        "specifications": [
            {
                "id": s.id,
                "formula": s.formula,
                "kind": s.kind,
                "applies_if": s.applies_if,
                "weight": s.weight,
                "text": s.text,
            }
            for s in book.specifications
        ],
    }
