"""The native engine: the kernels that also serve the model, as a reader for the pipeline.

It decodes quantized checkpoints and plain folders (in bfloat16) on the CPU, with an adapter beside
the base's weights. Nothing here imports torch before something is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.reading import Reading, Tokens
from verifier.errors import InputError

if TYPE_CHECKING:
    import torch

    from pipeline.models import LanguageModel
    from serving.decoder import ServedDecoder
    from serving.generation import DecoderSession

_ADAPTER = "adapter"
_QUANT_METHOD = "specdrive"


def is_quantized(folder: Path) -> bool:
    """Whether a model's folder is a checkpoint of `serving.checkpoint`."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return config["quantization_config"]["quant_method"] == _QUANT_METHOD
    return False


def native_device(device: str, dtype: str) -> tuple[str, str]:
    """Device and number format of what is not quantized.

    Raises:
        InputError: Others than the engine has are asked for.
    """
    if device not in ("auto", "cpu"):
        raise InputError(
            f"the native engine decodes on CPUs only, not on {device!r}",
            remedy="use device 'cpu', or engine 'transformers'",
        )
    if dtype not in ("auto", "bfloat16"):
        raise InputError(
            f"the native engine does not keep weights in {dtype}",
            remedy="leave the number format at auto, or use engine 'transformers'",
        )
    return "cpu", "bfloat16"


@dataclass(frozen=True)
class NativeReader:
    """A `pipeline.reading.Reader` over the served decoder.

    Attributes:
        decoder: The model, made ready.
        adapter: Name of the adapter that all rows use, if any.
    """

    decoder: ServedDecoder
    adapter: str | None = None

    @property
    def vocabulary(self) -> int:
        """Width of the logits."""
        return self.decoder.vocab

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer, as the model's settings say."""
        return self.decoder.stop_ids

    def start(self, prompts: Sequence[Tokens]) -> tuple[torch.Tensor, Reading]:
        """Read prompts; equal ones, and what several begin with, are read once."""
        session = self._session()
        with serving_errors():
            logits = session.read(prompts, self._adapters(prompts))
        return logits, _NativeReading(session)

    def along(self, prompts: Sequence[Tokens], answers: Sequence[Tokens]) -> Sequence[torch.Tensor]:
        """For each answer the logits [tokens, vocabulary] from which its tokens are drawn."""
        import torch

        session = self._session()
        with serving_errors():
            first = session.read(prompts, self._adapters(prompts))
            # What follows the end of a shorter answer changes nothing before it.
            width = max(map(len, answers)) - 1
            rest = [(*answer[:-1], *[0] * (width - len(answer[:-1]))) for answer in answers]
            logits = session.extend(rest, keep=width) if width > 0 else first[:, None, :][:, :0]
        session.close()
        return [
            torch.cat([first[row : row + 1], logits[row]])[: len(answer)]
            for row, answer in enumerate(answers)
        ]

    def everywhere(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits [rows, tokens, vocabulary] after every token of rows of one length."""
        import torch

        from serving.generation import logits_of

        with serving_errors():
            return torch.stack(logits_of(self.decoder, rows, adapter=self.adapter))

    def _session(self) -> DecoderSession:
        from serving.generation import DecoderSession

        return DecoderSession(self.decoder)

    def _adapters(self, prompts: Sequence[Tokens]) -> list[str | None]:
        return [self.adapter] * len(prompts)


@dataclass(frozen=True)
class _NativeReading:
    session: DecoderSession

    def select(self, rows: Sequence[int]) -> None:
        self.session.select(rows)

    def read(self, tokens: Sequence[int]) -> torch.Tensor:
        with serving_errors():
            return self.session.step(tokens)


def native_reader(model: LanguageModel) -> NativeReader:
    """The decoder of a model, loaded.

    Raises:
        InputError: It cannot be: another architecture, damaged files, an adapter that does not
            fit, or kernels that are not built.
    """
    with serving_errors():
        from pipeline.models import PUBLIC_NAME
        from serving.decoder import make_decoder
        from serving.exchange import opened

        _check_kernels()
        place = model.source or model.folder
        with opened(place) as weights:
            if model.source is not None:
                # Files carry names of their own; adapters know the model by its public one.
                header = replace(weights.header, base=PUBLIC_NAME, base_hash="")
                weights = replace(weights, header=header)
            decoder = make_decoder(
                weights, place, activation_bits=model.activation_bits, kv=model.kv
            )
        if model.adapter is not None:
            decoder.load_adapter(_ADAPTER, model.adapter)
    return NativeReader(decoder, _ADAPTER if model.adapter is not None else None)


def quantized_network(model: LanguageModel) -> Any:
    """A transformers network of quantized layers, for a quantized model.

    Raises:
        InputError: The checkpoint is damaged, or kernels are not built.
    """
    import torch

    with serving_errors():
        from serving.modules import load_quantized_network

        _check_kernels()
        return load_quantized_network(
            model.folder,
            dtype=getattr(torch, model.dtype),
            activation_bits=model.activation_bits,
        )


def _check_kernels() -> None:
    from kernels.cpu.library import native

    try:
        native()
    except RuntimeError as error:  # not built, or not for this processor
        raise InputError(str(error)) from None


@contextmanager
def serving_errors() -> Iterator[None]:
    """Within it, what serving refuses is raised as the pipeline's one-line error."""
    try:
        from serving.errors import ServingError
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None
    try:
        yield
    except ServingError as error:
        file = str(error.file) if error.file is not None else None
        raise InputError(error.message, file=file, remedy=error.remedy) from None
    except ModuleNotFoundError as error:
        raise _not_installed(error) from None


def _not_installed(error: ModuleNotFoundError) -> InputError:
    return InputError(
        f"the native engine needs {error.name!r}, which is not installed",
        remedy="run: pip install -e '.[train]'",
    )
