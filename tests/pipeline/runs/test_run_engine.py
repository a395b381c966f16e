"""The engine on fake stages: order, skipping, resuming, damage."""

import json
from pathlib import Path

import pytest
from fakes import World, content

from pipeline.config import RunConfig
from pipeline.runs.engine import Silent
from pipeline.runs.manifest import read_manifest
from pipeline.runs.plan import ROUND, find_steps
from verifier.errors import InputError

TWO = RunConfig(rounds=2)
ABLATED = RunConfig.model_validate(
    {"rounds": 1, "variants": [{"name": "no_sft", "set": {"train.sft_weight": 0}}]}
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "run")


def names(steps) -> list[str]:
    return [str(step.folder) for step in steps]


def changed(config: RunConfig, **sections) -> RunConfig:
    return RunConfig.model_validate(config.to_json() | sections)


def test_order_of_a_run(world):
    assert names(world.steps(TWO)) == [
        "round-00/evaluate",
        *(f"round-01/{s}" for s in ROUND),
        *(f"round-02/{s}" for s in ROUND),
        "select",
    ]
    few = changed(TWO, evaluate={"every_round": False})
    assert names(world.steps(few)).count("round-01/evaluate") == 0
    assert "round-02/evaluate" in names(world.steps(few))


def test_rounds_start_from_the_adapter_before(world):
    steps = {str(s.folder): {k: str(v) for k, v in s.inputs.items()} for s in world.steps(TWO)}
    assert steps["round-00/evaluate"] == {}
    assert steps["round-01/generate"] == {}
    assert steps["round-01/evaluate"] == {"adapter": "round-01/train/adapter"}
    assert steps["round-02/generate"] == {"adapter": "round-01/train/adapter"}
    assert steps["round-02/train"] == {
        "rank": "round-02/rank",
        "adapter": "round-01/train/adapter",
    }
    assert steps["round-02/evaluate"] == {"adapter": "round-02/train/adapter"}
    assert list(steps["select"]) == [
        "round-00/evaluate",
        "round-01/train",
        "round-01/evaluate",
        "round-02/train",
        "round-02/evaluate",
    ]


def test_a_variant_branches_off_after_repair(world):
    steps = {str(s.folder): s for s in world.steps(ABLATED)}
    rank, train = steps["variants/no_sft/rank"], steps["variants/no_sft/train"]
    assert {str(p) for p in rank.inputs.values()} == {
        f"round-01/{s}" for s in ("generate", "verify", "repair")
    }
    assert {str(p) for p in train.inputs.values()} == {"variants/no_sft/rank"}
    assert train.config.train.sft_weight == 0
    assert steps["round-01/train"].config.train.sft_weight == 0.5
    assert train.round == 1
    assert not any("variants" in name for name in steps["select"].inputs)


def test_a_second_time_nothing_is_done(world):
    first = world.go(ABLATED)
    assert len(first) == len(world.steps(ABLATED)) == 11
    before = content(world.path)
    assert world.go(ABLATED) == []
    assert content(world.path) == before


def test_only_what_depends_on_a_change_is_done_again(world):
    world.go(TWO)
    assert world.go(changed(TWO, evaluate={"samples": 9})) == [
        "0/evaluate",
        "1/evaluate",
        "2/evaluate",
        "2/select",
    ]
    assert world.go(changed(TWO, tracking={"uri": "elsewhere"}, name="other")) == [
        "0/evaluate",
        "1/evaluate",
        "2/evaluate",
        "2/select",
    ]
    again = world.go(changed(TWO, rank={"pairs_per_task": 1}))
    assert again[0] == "1/rank"
    assert "1/generate" not in again
    assert "2/generate" in again


def test_equal_results_of_a_repeated_stage_stop_the_repetition(world):
    world.go(TWO)
    world.engine(TWO).execute(find_steps(world.steps(TWO), "generate", 1, None), force=True)
    assert world.go(TWO) == []


def test_an_edited_input_outside_counts_as_a_change(world):
    world.go(TWO)
    world.outside["model"] = "other weights"
    using = ("generate", "repair", "train", "evaluate")  # others follow only if answers differ
    assert world.go(TWO) == ["0/evaluate", *(f"{n}/{s}" for n in (1, 2) for s in using)]


def test_manifest_says_where_results_come_from(world):
    world.go(TWO)
    folder = world.path / "round-02" / "train"
    data = json.loads((folder / "manifest.json").read_text())
    assert set(data) == {
        *("stage", "round", "inputs", "config", "config_hash", "outputs", "versions", "seed"),
        *("started", "seconds", "host"),
    }
    assert (data["stage"], data["round"], data["seed"]) == ("train", 2, 0)
    assert set(data["inputs"]) == {"rank", "adapter", "model"}
    before = read_manifest(world.path / "round-01" / "train")
    assert before is not None
    assert data["inputs"]["adapter"] == before.content_hash("adapter")
    assert set(data["outputs"]) == {"out.txt", "adapter/weights"}
    assert set(data["config"]) == {"seed", "model", "train"}
    assert data["host"]["cores"] >= 1


@pytest.mark.parametrize("damage", ["edit", "truncate", "remove", "manifest", "no manifest"])
def test_damage_is_named_with_its_remedy(world, damage):
    world.go(TWO)
    folder = world.path / "round-01" / "verify"
    file = folder / ("manifest.json" if "manifest" in damage else "out.txt")
    if damage in ("remove", "no manifest"):
        file.unlink()
    elif damage in ("truncate", "manifest"):
        file.write_bytes(file.read_bytes()[:-4])
    else:
        file.write_bytes(b"x" + file.read_bytes()[1:])
    with pytest.raises(InputError) as error:
        world.go(TWO)
    again = f"specdrive stage verify --run {world.path} --round 1 --force"
    assert str(error.value).startswith(f"{file}: ")
    assert again in str(error.value)
    assert world.calls == []
    world.engine(TWO).execute(find_steps(world.steps(TWO), "verify", 1, None), force=True)
    assert world.go(TWO) == []


def test_damage_to_what_is_outdated_does_not_matter(world):
    world.go(TWO)
    (world.path / "round-01" / "rank" / "out.txt").write_text("x")
    assert "1/rank" in world.go(changed(TWO, rank={"pairs_per_task": 1}))


def test_saved_state_is_kept_only_for_the_same_recipe(world):
    class StopError(Exception):
        pass

    seen: list[list[str]] = []

    def stop(context):
        seen.append(sorted(p.name for p in context.work.iterdir()))
        seen.append([p.read_text() for p in sorted(context.partial.glob("saved"))])
        (context.partial / "saved").write_text(str(len(seen)))
        (context.work / "half.txt").write_text("half")
        raise StopError

    world.acts["train"] = stop
    for config in (TWO, TWO, changed(TWO, train={"beta": 0.2})):
        with pytest.raises(StopError):
            world.go(config)
    assert seen == [["partial"], [], ["partial"], ["2"], ["partial"], []]
    world.acts.clear()
    world.go(TWO)
    made = sorted(p.name for p in (world.path / "round-01" / "train").iterdir())
    assert made == ["adapter", "manifest.json", "out.txt"]


def test_errors_of_a_stage_name_it(world):
    def refuse(_context):
        raise InputError("no pairs", remedy="sample more")

    world.acts["train"] = refuse
    with pytest.raises(InputError, match=r"^round 1 · train: no pairs; sample more$"):
        world.go(TWO)


def test_a_single_stage_needs_its_inputs(world):
    engine = world.engine(TWO)
    (step,) = find_steps(world.steps(TWO), "verify", 1, None)
    with pytest.raises(InputError, match="round 1 · verify needs round-01/generate, which is not"):
        engine.check_inputs(step)
    assert engine.state(step) == "missing"
    world.go(TWO)
    engine.check_inputs(step)
    assert engine.state(step) == "finished"
    (world.path / "round-01" / "generate" / "out.txt").write_text("x")
    with pytest.raises(InputError, match=r"generate/out.txt: is damaged"):
        engine.check_inputs(step)


def test_observer_and_tracker_hear_of_every_stage(world):
    heard: list[tuple[str, bool]] = []
    tracked: list[str] = []

    class Ears(Silent):
        def finished(self, step, folder, seconds, skipped):
            assert seconds >= 0
            assert (folder / "manifest.json").exists()
            heard.append((str(step.folder), skipped))

    class Record:
        def stage_done(self, round, stage, folder):
            tracked.append(f"{round}/{stage}/{folder.relative_to(world.path)}")

    for skipped in (False, True):
        heard.clear()
        tracked.clear()
        engine = world.engine(ABLATED, Ears())
        type(engine)(engine.run, engine.stages, engine.outside, Ears(), Record()).execute(
            world.steps(ABLATED)
        )
        assert heard == [(name, skipped) for name in names(world.steps(ABLATED))]
        assert len(tracked) == len(heard)
        assert tracked[-1] == "None/select/select"
