"""Reading configurations: files, names, runs, and single values set on the command line.

Values are overridden by ``section.key=value``, the value written as in YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config import RunConfig, VariantConfig
from verifier.errors import InputError
from verifier.yaml_files import load_mapping

VARIANT_SECTIONS = ("rank", "train", "evaluate")
"""What a variant may set: it branches off after repair, so nothing earlier can differ."""

CONFIG_FILE = "config.yaml"
"""Name of the resolved configuration in a run's folder."""

_SHIPPED = Path(__file__).parent.parent / "configs"


def shipped_configs() -> tuple[str, ...]:
    """Names of the configurations that come with the package."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.yaml")))


def load_config(path_or_name: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The configuration in a file, of a finished or started run, or shipped under a name.

    Args:
        path_or_name: A .yaml file, a run's folder, or one of `shipped_configs`.
        overrides: ``section.key=value`` each, the value written as in YAML; later ones win.

    Raises:
        InputError: No such configuration; a key that does not exist (the nearest one is named)
            or a value that is not allowed, in the file or in an override.
    """
    path = _locate(path_or_name)
    values: dict[str, Any] = {"name": path.stem, **load_mapping(path)}
    sources: dict[str, str] = {}
    for override in overrides:
        key, value = _parse_override(override)
        _assign(values, key, value, f"--set {override}")
        sources[key] = f"--set {override}"
    config = _validated(values, path, sources)
    for variant in config.variants:  # those of a file should fail now and not hours later
        try:
            variant_config(config, variant)
        except InputError as error:
            raise error.located(path) from None
    return config


def variant_config(config: RunConfig, variant: VariantConfig) -> RunConfig:
    """The configuration of an ablation: its values set, no rounds or variants of its own.

    Raises:
        InputError: It sets something unknown, invalid or earlier than ranking.
    """
    place = f"variant {variant.name!r}"
    values = config.to_json() | {"variants": []}
    for key, value in variant.set.items():
        if key.split(".")[0] not in VARIANT_SECTIONS:
            raise InputError(
                f"a variant cannot set {key!r}",
                place=place,
                remedy=f"it branches off after repair: set {', '.join(VARIANT_SECTIONS)}",
            )
        _assign(values, key, value, place)
    return _validated(values, None, dict.fromkeys(variant.set, place))


def _locate(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.is_dir():
        return path / CONFIG_FILE
    if path.exists() or (path.suffix in {".yaml", ".yml"} and path.parent != Path()):
        return path
    for folder in (Path("configs"), _SHIPPED):
        for name in (path.name, f"{path.name}.yaml"):
            if path.parent == Path() and (folder / name).is_file():
                return folder / name
    near = get_close_matches(path.name.removesuffix(".yaml"), shipped_configs(), n=1)
    raise InputError(
        f"no configuration {str(path_or_name)!r}",
        remedy=f"did you mean {near[0]!r}?"
        if near
        else f"use one of {', '.join(shipped_configs())} or the path of a .yaml file",
    )


def _parse_override(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise InputError(f"not an override: {override!r}", remedy="write --set section.key=value")
    try:
        return key.strip(), yaml.safe_load(text)
    except yaml.YAMLError:
        raise InputError(
            f"{text!r} is not a YAML value", place=f"--set {key.strip()}", remedy="quote it"
        ) from None


def _assign(values: dict[str, Any], key: str, value: Any, place: str) -> None:
    """Set a dotted key in nested mappings; what exists is not modified in place."""
    *parents, last = key.split(".")
    here = values
    for depth, name in enumerate(parents, start=1):
        inner = here.get(name)
        if inner is not None and not isinstance(inner, dict):
            raise InputError(
                f"{'.'.join(parents[:depth])} has no keys",
                place=place,
                remedy=f"set {'.'.join(parents[:depth])} as a whole",
            )
        here[name] = dict(inner or {})
        here = here[name]
    here[last] = value


def _validated(values: dict[str, Any], file: Path | None, sources: Mapping[str, str]) -> RunConfig:
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    location = tuple(first["loc"])
    key = _dotted(location)
    # What an override has set is not to be looked for in the file.
    place = next((where for name, where in sources.items() if _related(name, key)), None)
    where: dict[str, Any] = {"place": place} if place else {"file": file}
    if first["type"] == "extra_forbidden":
        raise InputError(f"unknown key {key!r}", **where, remedy=_nearest(location)) from None
    if first["type"] == "missing":
        raise InputError(f"{key} is missing", **where, remedy="add it")
    if first["type"] == "model_type":
        raise InputError(f"{key} must hold keys and values", **where, remedy="see configs/")
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    found = first.get("input")
    shown = "" if isinstance(found, dict | BaseModel) else f" (found {found!r})"
    raise InputError(f"{key}: {message}{shown}" if key else message, **where)


def _related(override: str, key: str) -> bool:
    """Whether an override has set a key, a part of it, or what it is a part of."""
    short, long = sorted((override, key), key=len)
    return bool(key) and long.startswith(short) and long[len(short) :][:1] in ("", ".", "[")


def _dotted(location: Sequence[int | str]) -> str:
    """``train.lora.rank``, ``variants[2].name``: positions count from 1, as in other messages."""
    text = ""
    for part in location:
        text += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _nearest(location: Sequence[int | str]) -> str:
    """What was probably meant by an unknown key: a key of the same section, else of another."""
    wrong = str(location[-1])
    section = RunConfig
    for part in location[:-1]:
        if isinstance(part, str):
            section = _model_in(section.model_fields[part].annotation) or section
    fields = list(section.model_fields)
    parent = _dotted(location[:-1])
    if near := get_close_matches(wrong, fields, n=1, cutoff=0.6):
        return f"did you mean {f'{parent}.{near[0]}' if parent else near[0]!r}?"
    everywhere = {name.rsplit(".", 1)[-1]: name for name in reversed(_all_keys(RunConfig))}
    if elsewhere := get_close_matches(wrong, everywhere, n=1, cutoff=0.75):
        return f"did you mean {everywhere[elsewhere[0]]!r}?"
    return f"keys of {parent or 'a configuration'}: {', '.join(fields)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, on its own or as the members of a tuple."""
    for kind in (annotation, *(get_args(annotation) if get_origin(annotation) else ())):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return cast(type[BaseModel], kind)
    return None


def _all_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        inner = _model_in(field.annotation)
        if inner is not None and inner is field.annotation:
            keys += _all_keys(inner, f"{prefix}{name}.")
    return keys
