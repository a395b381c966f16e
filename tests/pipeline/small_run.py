"""A run of the real stages that takes seconds: a model of random weights, and few tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import RunConfig
from pipeline.sampling import MAX_CONSTRAINED_STEPS
from pipeline.tasks import load_tasks, task_prompt

MAX_TOKENS = 24 * MAX_CONSTRAINED_STEPS
VALUES: dict[str, Any] = {
    "name": "small",
    "rounds": 2,
    "tasks": {"limit": 1, "practice": [{"worlds": 1, "propositions": [1, 2]}, {"worlds": 0}]},
    "generate": {
        "samples": 1,
        "constrained_samples": 3,
        "extra_samples": 1,
        "max_new_tokens": MAX_TOKENS,
        "chunk": 3,
    },
    "repair": {"per_task": 2},
    "rank": {"pairs_per_task": 3},
    "train": {
        "epochs": 1,
        "pairs_per_step": 2,
        "max_steps": 4,
        "checkpoint_every": 1,
        "dtype": "float32",
        "lora": {"rank": 2, "alpha": 4},
    },
    "evaluate": {
        "splits": ["validation", "test"],
        "samples": 1,
        "limit": 1,
        "max_new_tokens": 8,
        "robustness": False,
        "perplexity": False,
    },
    "tracking": {"enabled": False},
    "variants": [{"name": "plain", "set": {"train.sft_weight": 0}}],
}


def small_config(model: Path, **sections: Any) -> RunConfig:
    """The configuration above for a model in a folder; ``sections`` replace its own."""
    return RunConfig.model_validate(
        VALUES | {"model": {"name": str(model), "device": "cpu"}} | sections
    )


def make_small_model(folder: Path) -> Path:
    """One layer of random weights, with a tokenizer that knows the words of the shipped tasks."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from pipeline.prompts import load_template
    from verifier.vocabulary import load_vocabulary

    vocabulary = load_vocabulary()
    template = load_template("observed")
    texts = [
        message.content
        for task in load_tasks("driving", vocabulary)
        for message in task_prompt(task, template, vocabulary).messages
    ]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<pad>", "<end>"], initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
