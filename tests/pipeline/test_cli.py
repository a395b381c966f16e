"""The command as a user meets it: output, exit codes, one-line errors."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from golden import AFTER, AFTER_TEXT, BEFORE_TEXT

from pipeline.cli import COMMANDS, run
from verifier.controller import controller_to_json

GOLDEN = ("--world", "paper_traffic_light", "--rules", "paper", "--semantics", "paper")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two texts and a controller."""
    (tmp_path / "before.txt").write_text(BEFORE_TEXT)
    (tmp_path / "after.txt").write_text(AFTER_TEXT)
    (tmp_path / "after.json").write_text(json.dumps(controller_to_json(AFTER)))
    return tmp_path


Outcome = tuple[int, str, str]


@pytest.fixture
def specdrive(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run the command; exit code, stdout and stderr."""

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_verify_explains_what_is_violated(specdrive, folder: Path) -> None:
    code, out, err = specdrive("verify", folder / "before.txt", *GOLDEN)
    assert (code, err) == (1, "")
    flat = " ".join(out.split())
    assert "phi_5 ✗ violated" in flat
    assert 'step 5 ("If there is no pedestrian at right, turn right") turns right anyway' in flat
    assert "1 satisfied · 11 vacuous · 3 violated" in flat


def test_verify_exits_zero_when_all_holds(specdrive, folder: Path) -> None:
    for name in ("after.txt", "after.json"):
        code, out, _ = specdrive("verify", folder / name, *GOLDEN)
        assert code == 0
        assert "violated" not in out.replace("phi", "")


def test_json_report_of_one_file(specdrive, folder: Path) -> None:
    code, out, _ = specdrive("verify", folder / "before.txt", *GOLDEN, "--json")
    report = json.loads(out)
    assert code == 1
    assert report["world"] == "paper_traffic_light"
    assert report["rules"] == "paper"
    assert report["semantics"]["conditional"] == "wait"
    assert report["controller"]["hash"].startswith("sha256:")
    assert report["score"]["violated"] == 3
    assert report["score"]["total"] == 15
    violated = {v["id"]: v for v in report["verdicts"] if v["verdict"] == "violated"}
    assert set(violated) == {"phi_5", "phi_9", "phi_11"}
    counterexample = violated["phi_5"]["counterexample"]
    assert counterexample["cycle"]
    assert set(counterexample["prefix"][0]) == {"world", "step", "propositions", "action"}


def test_json_lines_of_a_folder(specdrive, folder: Path) -> None:
    code, out, _ = specdrive("verify", folder, *GOLDEN, "--json")
    reports = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [Path(report["file"]).name for report in reports] == [
        "after.json",
        "after.txt",
        "before.txt",
    ]
    assert reports[0]["controller"]["hash"] == reports[1]["controller"]["hash"]


def test_text_that_cannot_be_read_is_unknown(specdrive, folder: Path) -> None:
    (folder / "odd.txt").write_text("1. Observe the moon.\n2. Go to step 9.\n")
    code, out, err = specdrive("verify", folder / "odd.txt", *GOLDEN, "--json")
    report = json.loads(out)
    assert (code, err) == (1, "")
    assert report["controller"] == {"hash": None, "states": None}
    assert {v["verdict"] for v in report["verdicts"]} == {"unknown"}
    assert any("moon" in problem for problem in report["problems"])


def test_goal_adds_the_progress_rule(specdrive, folder: Path) -> None:
    _, out, _ = specdrive(
        "verify",
        folder / "after.txt",
        "-w",
        "paper_traffic_light",
        "--goal",
        "turn_right",
        "--json",
    )
    last = json.loads(out)["verdicts"][-1]
    assert (last["id"], last["verdict"]) == ("progress_turn_right", "satisfied")


def test_many_files_make_a_table(specdrive, folder: Path) -> None:
    for number in range(3):
        (folder / f"copy{number}.txt").write_text(BEFORE_TEXT)
    code, out, _ = specdrive("verify", folder, *GOLDEN)
    assert code == 1
    assert "phi_5, phi_9, phi_11" in " ".join(out.split())


def test_drawings(specdrive, folder: Path) -> None:
    specdrive("verify", folder / "before.txt", *GOLDEN, "--draw", folder / "pictures")
    names = {path.name for path in (folder / "pictures").iterdir()}
    parts = ("", ".phi_5", ".phi_9", ".phi_11")
    assert names == {f"before{part}.{form}" for part in parts for form in ("svg", "png")}


BAD: dict[str, tuple[Callable[[Path], list[object]], str]] = {
    "missing file": (
        lambda d: ["verify", d / "none.txt", *GOLDEN],
        "{d}/none.txt: no such file; check the path",
    ),
    "wrong kind": (
        lambda d: ["verify", d / "odd.csv", *GOLDEN],
        "{d}/odd.csv: cannot tell what a .csv is",
    ),
    "empty steps": (lambda d: ["verify", d / "empty.txt", *GOLDEN], "{d}/empty.txt: no steps"),
    "not UTF-8": (lambda d: ["verify", d / "latin.txt", *GOLDEN], "{d}/latin.txt: not UTF-8"),
    "10,000 steps": (
        lambda d: ["verify", d / "long.txt", *GOLDEN],
        "{d}/long.txt: line 1001: 10000",
    ),
    "empty folder": (lambda d: ["verify", d / "nothing", *GOLDEN], "{d}/nothing: no .txt or .json"),
    "unknown world": (
        lambda d: ["verify", d / "after.txt", "-w", "papr_traffic_light"],
        "no world named 'papr_traffic_light'; did you mean 'paper_traffic_light'?",
    ),
    "unknown rules": (
        lambda d: ["verify", d / "after.txt", "-w", "free", "-r", "raod"],
        "no rule book named 'raod'",
    ),
    "unknown profile": (
        lambda d: ["verify", d / "after.txt", "-w", "free", "-s", "strict"],
        "no semantics profile named 'strict'; use one of default, paper",
    ),
    "misspelt profile field": (
        lambda d: ["verify", d / "after.txt", "-w", "free", "-s", d / "profile.yaml"],
        "{d}/profile.yaml: unknown field 'epsilom'; did you mean 'epsilon'?",
    ),
    "unknown goal": (
        lambda d: ["verify", d / "after.txt", "-w", "free", "--goal", "fly"],
        "--goal: unknown action 'fly'",
    ),
    "deadlock": (lambda d: ["verify", d / "after.txt", "-w", d / "dead.yaml"], "{d}/dead.yaml: "),
    "missing option": (lambda d: ["verify", d / "after.txt"], "Missing option '--world'"),
    "unknown command": (lambda _: ["verifi"], "No such command 'verifi'"),
    "not a certificate": (
        lambda d: ["certificate", "verify", d / "after.json"],
        "{d}/after.json: not a certificate",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_two(case: str, specdrive, folder: Path) -> None:
    (folder / "odd.csv").write_text("x")
    (folder / "empty.txt").write_text(" \n\n")
    (folder / "latin.txt").write_bytes(b"1. Caf\xe9\n")
    (folder / "long.txt").write_text("\n".join(f"{i}. Stop." for i in range(1, 10_001)))
    (folder / "nothing").mkdir()
    (folder / "profile.yaml").write_text("epsilom: stop\n")
    (folder / "dead.yaml").write_text(
        "name: dead\ntext: t\nstates: {a: []}\ntransitions: {a: []}\n"
    )
    arguments, message = BAD[case]
    before = sorted(folder.rglob("*"))
    code, out, err = specdrive(*arguments(folder))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("specdrive: " + message.format(d=folder))
    assert sorted(folder.rglob("*")) == before


def test_nothing_is_printed_when_a_later_file_is_bad(specdrive, folder: Path) -> None:
    files = (folder / "after.txt", folder / "none.txt")
    code, out, _ = specdrive("verify", *files, *GOLDEN, "--json")
    assert (code, out) == (2, "")


def test_certificates(specdrive, folder: Path) -> None:
    made = folder / "after.certificate.json"
    assert specdrive("certificate", "make", folder / "after.txt", *GOLDEN)[0] == 0
    assert specdrive("certificate", "verify", made)[0] == 0
    data = json.loads(made.read_text())
    data["verdicts"]["phi_4"] = "satisfied"
    made.write_text(json.dumps(data))
    code, out, _ = specdrive("certificate", "verify", made)
    assert code == 1
    assert "verdicts.phi_4: the certificate says satisfied, recomputing vacuous" in out
    assert specdrive("certificate", "make", folder / "before.txt", *GOLDEN)[0] == 1


@pytest.mark.parametrize("form", ["png", "svg", "dot", "text", "json", "smv"])
def test_show_controller(form: str, specdrive, folder: Path) -> None:
    target = folder / f"out.{form}"
    code, out, _ = specdrive(
        "show", "controller", folder / "after.txt", "-f", form, "-o", target, "-s", "paper"
    )
    assert code == 0
    assert out.strip() == str(target)
    start = {
        "png": b"\x89PNG",
        "svg": b"<?xml",
        "dot": b"digraph",
        "text": b"1. ",
        "json": b"{",
        "smv": b"",
    }
    assert target.read_bytes().startswith(start[form])
    if form in ("text", "json"):
        again = folder / f"again.{'txt' if form == 'text' else 'json'}"
        again.write_bytes(target.read_bytes())
        hashes = set()
        for name in (folder / "after.txt", again):
            _, out, _ = specdrive("verify", name, *GOLDEN, "--json")
            hashes.add(json.loads(out)["controller"]["hash"])
        assert len(hashes) == 1


@pytest.mark.parametrize("form", ["svg", "dot", "text", "json"])
def test_show_world(form: str, specdrive) -> None:
    code, out, _ = specdrive("show", "world", "paper_traffic_light", "-f", form)
    assert code == 0
    assert "green" in out


@pytest.mark.parametrize("kind", ["worlds", "rules", "tasks"])
def test_catalogues(kind: str, specdrive) -> None:
    names = [row["name"] for row in json.loads(specdrive(kind, "list", "--json")[1])]
    assert names
    assert specdrive(kind, "list")[0] == 0
    for name in names:
        assert specdrive(kind, "show", name)[0] == 0
        json.loads(specdrive(kind, "show", name, "--json")[1])
    assert specdrive(kind, "check", *names)[0] == 0


def test_audit(specdrive) -> None:
    code, out, _ = specdrive("audit", "-w", "paper_wide_median", "--goal", "turn_right", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["realizability"]["value"] == "realizable"
    assert specdrive("audit", "-w", "paper_wide_median")[0] == 0


def test_help_of_every_command(specdrive) -> None:
    for name in COMMANDS:
        code, out, _ = specdrive(name, "--help")
        assert code == 0
        assert "Usage:" in out


def test_starts_without_torch(folder: Path) -> None:
    program = (
        "import sys; from pipeline.cli import run; "
        f"code = run(['verify', {str(folder / 'after.txt')!r}, *{GOLDEN!r}]); "
        "assert code == 0; assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
