"""``specdrive certificate``: make a certificate, or recompute one."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipeline.commands import options
from pipeline.files import write_text
from pipeline.inputs import deterministic_aligner, read_candidates
from verifier.certificate import make_certificate, verify_certificate
from verifier.checker import Checker
from verifier.errors import InputError
from verifier.rules import load_rules
from verifier.semantics import load_semantics
from verifier.vocabulary import load_vocabulary
from verifier.yaml_files import load_json
from worlds.load import load_world


@click.group("certificate")
def command() -> None:
    """Certificates: all that a verdict rests on, for others to recompute."""


@command.command("make")
@click.argument("file")
@options.world_option
@options.rules_option
@options.semantics_option
@options.vocabulary_option
@options.time_limit_option
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Default: FILE.certificate.json")
def make(
    file: str,
    world: str,
    rules: str,
    semantics: str,
    vocabulary: str,
    time_limit: float,
    out: Path | None,
) -> int:
    """Verify FILE (steps .txt or controller .json) and write the certificate."""
    words, profile = load_vocabulary(vocabulary), load_semantics(semantics)
    checker = Checker(
        load_world(world, words), load_rules(rules, words), profile, words, time_limit
    )
    candidates = read_candidates([file], words, deterministic_aligner(words, profile.conditional))
    if len(candidates) != 1 or candidates[0].controller is None:
        problem = (candidates[0].problems or ("one file at a time",))[0]
        raise InputError(f"no certificate: {problem}", file=file, remedy="mend the steps")
    certificate = make_certificate(checker, candidates[0].controller)
    target = out or Path(file).with_suffix(".certificate.json")
    write_text(target, json.dumps(certificate, indent=1, ensure_ascii=False) + "\n")
    verdicts = certificate["verdicts"].values()
    click.echo(f"{target}: {', '.join(f'{n} {v}' for v, n in certificate['score'].items() if n)}")
    return 0 if not {"violated", "unknown"} & set(verdicts) else 1


@command.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
@options.json_option
def verify(file: Path, as_json: bool) -> int:
    """Recompute a certificate, or each line of a .jsonl of them.

    Exit 1 if anything in it is not confirmed.
    """
    from pipeline.files import read_rows

    several = file.suffix == ".jsonl"
    certificates = read_rows(file) if several else [load_json(file)]
    wrong = 0
    for number, data in enumerate(certificates, start=1):
        place = f"{file}:{number}" if several else str(file)
        mismatches = verify_certificate(data, place)
        wrong += bool(mismatches)
        if as_json:
            found = [vars(m) for m in mismatches]
            options.print_json({"file": place, "valid": not mismatches, "mismatches": found})
        elif mismatches:
            for mismatch in mismatches:
                click.echo(f"{place}: {mismatch}")
        elif not several:
            score = {value: count for value, count in data["score"].items() if count}
            click.echo(f"{file}: confirmed ({', '.join(f'{n} {v}' for v, n in score.items())})")
    if several and not as_json:
        click.echo(f"{file}: {len(certificates) - wrong} of {len(certificates)} confirmed")
    return 1 if wrong else 0
