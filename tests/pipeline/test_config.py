"""Configurations: checked as a whole before anything starts; errors say which key and where."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import RunConfig
from pipeline.config_files import load_config, shipped_configs, variant_config
from verifier.errors import InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 3\ntrain: {beta: 0.3, lora: {rank: 4}}\n")
    return path


def test_what_a_file_leaves_out_takes_the_default(file):
    config = load_config(file)
    assert (config.name, config.seed, config.train.beta) == ("mine", 3, 0.3)
    assert config.train.lora.rank == 4
    assert config.train.lora.alpha == RunConfig().train.lora.alpha
    assert config.generate == RunConfig().generate


def test_shipped_configurations_are_valid():
    assert {"quick", "reproduce", "llama2-7b"} <= set(shipped_configs())
    for name in shipped_configs():
        config = load_config(name)
        assert config.name == name
        for variant in config.variants:
            assert variant_config(config, variant).hash != config.hash


def test_the_paper_scale_asks_the_hub_for_its_model():
    config = load_config("llama2-7b")
    assert config.model.name == "meta-llama/Llama-2-7b-hf"
    assert (config.model.device, config.model.dtype) == ("cuda", "bfloat16")


def test_a_file_here_wins_over_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config("quick").rounds == 1
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quick.yaml").write_text("rounds: 7\n")
    assert load_config("quick").rounds == 7
    (tmp_path / "quick.yaml").write_text("rounds: 8\n")
    assert load_config("quick.yaml").rounds == 8
    assert load_config("configs/quick.yaml").rounds == 7


def test_overrides(file):
    config = load_config(
        file,
        [
            "train.lora.rank=8",
            "train.learning_rate=1e-4",
            "rank.sources=[samples]",
            "model.name=a/b",
            "generate.chunk=5",
            "generate.chunk=6",
            "train.max_steps=null",
            "evaluate={splits: [validation], samples: 2}",
            "name=other",
        ],
    )
    assert (config.train.lora.rank, config.train.beta) == (8, 0.3)
    assert config.train.learning_rate == 1e-4  # YAML 1.1 takes 1e-4 for a text
    assert config.rank.sources == ("samples",)
    assert (config.model.name, config.generate.chunk, config.name) == ("a/b", 6, "other")
    assert config.evaluate.splits == ("validation",)


BAD = {
    "train.bta=1": "--set train.bta=1: unknown key 'train.bta'; did you mean 'train.beta'?",
    "trian.beta=1": "--set trian.beta=1: unknown key 'trian'; did you mean 'train'?",
    "train.lora.rnk=1": "--set train.lora.rnk=1: unknown key 'train.lora.rnk'; "
    "did you mean 'train.lora.rank'?",
    "learning_rate=1": "--set learning_rate=1: unknown key 'learning_rate'; "
    "did you mean 'train.learning_rate'?",
    "select.gate.qqq=1": "--set select.gate.qqq=1: unknown key 'select.gate.qqq'; "
    "keys of select.gate: min_gain, regressions",
    "train.beta=-1": "--set train.beta=-1: train.beta: input should be greater than 0 (found -1)",
    "train.beta=.inf": "--set train.beta=.inf: train.beta: input should be a finite number",
    "train.beta.x=1": "--set train.beta.x=1: train.beta has no keys; set train.beta as a whole",
    "train=1": "--set train=1: train must hold keys and values",
    "rank.order=best": "--set rank.order=best: rank.order: input should be 'road'",
    "generate.top_p=0": "--set generate.top_p=0: generate.top_p: input should be greater than 0",
    "evaluate.seeds=[]": "--set evaluate.seeds=[]: evaluate.seeds: ",
    "rounds=-1": "--set rounds=-1: rounds: ",
    "name=a/b": "--set name=a/b: name: ",
    "rounds": "not an override: 'rounds'; write --set section.key=value",
    "rounds=[": "--set rounds: '[' is not a YAML value; quote it",
    "tasks.practice=[{worlds: 2, propositions: [3, 2]}]": "--set tasks.practice=[{worlds: 2, "
    "propositions: [3, 2]}]: tasks.practice[1]: propositions must be [fewest, most]",
    "evaluate.splits=[test]": "{file}: select.split 'validation' is not in evaluate.splits",
    "variants=[{name: a, set: {generate.samples: 1}}]": "{file}: variant 'a': a variant cannot "
    "set 'generate.samples'; it branches off after repair: set rank, train, evaluate",
    "variants=[{name: a, set: {train.bta: 1}}]": "{file}: variant 'a': unknown key 'train.bta'; "
    "did you mean 'train.beta'?",
    "variants=[{name: a, set: {}}]": "--set variants=[{name: a, set: {}}]: variants[1].set: ",
    "variants=[{set: {train.beta: 1}}]": "--set variants=[{set: {train.beta: 1}}]: "
    "variants[1].name is missing; add it",
    "variants=[{name: A b, set: {train.beta: 1}}]": "--set variants=[{name: A b, set: "
    "{train.beta: 1}}]: variants[1].name: ",
}


@pytest.mark.parametrize("override", BAD)
def test_errors_name_the_override_and_the_key(override, file):
    with pytest.raises(InputError) as error:
        load_config(file, [override])
    assert str(error.value).startswith(BAD[override].replace("{file}", str(file)))
    assert "\n" not in str(error.value)


def test_errors_in_a_file_name_it(file):
    file.write_text("generate: {sampels: 3}\n")
    with pytest.raises(InputError) as error:
        load_config(file, ["train.beta=0.2"])
    assert str(error.value) == (
        f"{file}: unknown key 'generate.sampels'; did you mean 'generate.samples'?"
    )


def test_unknown_configuration():
    with pytest.raises(InputError, match=r"no configuration 'quik'; did you mean 'quick'\?"):
        load_config("quik")
    with pytest.raises(InputError, match=r"nowhere/quick.yaml: no such file"):
        load_config("nowhere/quick.yaml")


def test_two_variants_of_one_name(file):
    one = "{name: a, set: {train.beta: 1}}"
    with pytest.raises(InputError, match="two variants are called 'a'"):
        load_config(file, [f"variants=[{one}, {one}]"])


def test_variant_sets_its_values_and_nothing_else(file):
    config = load_config(
        file, ["variants=[{name: a, set: {train.lora.rank: 2, rank.order: road}}]"]
    )
    own = variant_config(config, config.variants[0])
    expected = config.to_json()
    expected["train"]["lora"]["rank"] = 2
    assert own.to_json() == expected | {"variants": []}
    assert config.train.lora.rank == 4


values = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**31 - 1),
        "rounds": st.integers(0, 9),
        "train": st.fixed_dictionaries(
            {},
            optional={
                "beta": st.floats(1e-3, 10),
                "max_steps": st.none() | st.integers(1, 99),
                "method": st.sampled_from(["dpo", "sft"]),
            },
        ),
        "tasks": st.fixed_dictionaries(
            {},
            optional={
                "bank": st.text("aé:#' -\n", min_size=1),
                "limit": st.none() | st.integers(1, 5),
            },
        ),
        "evaluate": st.fixed_dictionaries(
            {}, optional={"seeds": st.lists(st.integers(), min_size=1, max_size=3)}
        ),
    },
)


@given(values)
def test_written_out_and_read_again_it_is_the_same(given_values):
    config = RunConfig.model_validate(given_values)
    again = RunConfig.model_validate(yaml.safe_load(config.to_yaml()))
    assert again == config
    assert again.hash == config.hash
    assert RunConfig.model_validate(config.to_json()) == config
