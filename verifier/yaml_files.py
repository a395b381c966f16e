"""Reading YAML and JSON files with errors that name the file, the line and the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from verifier.errors import InputError

# libyaml's loader is several times faster, where PyYAML was built with it.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """Safe YAML in which a key given twice is an error instead of the last one winning."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping.

        Raises:
            yaml.constructor.ConstructorError: A key occurs twice.
        """
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} is given twice", key.start_mark
                )
            seen.add(key.value if isinstance(key.value, str) else repr(key.value))
        return super().construct_mapping(node, deep)


def read_text(path: Path) -> str:
    """The file's text.

    Raises:
        InputError: The file is missing, a folder, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError("no such file", file=path, remedy="check the path") from None
    except IsADirectoryError:
        raise InputError("this is a folder", file=path, remedy="name a file in it") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"not UTF-8 text (byte {error.start})", file=path, remedy="save the file as UTF-8"
        ) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=path) from None


def load_mapping(path: Path) -> dict[str, Any]:
    """The single mapping that a YAML file holds.

    Raises:
        InputError: As `read_text`; not YAML; not one mapping with text keys.
    """
    return parse_mapping(read_text(path), file=path)


def parse_mapping(text: str, file: object = None) -> dict[str, Any]:
    """Like `load_mapping`, for text."""
    try:
        value = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InputError(
            f"not valid YAML: {getattr(error, 'problem', None) or error}",
            file=file,
            place=f"line {mark.line + 1}, column {mark.column + 1}" if mark else None,
            remedy="mend the syntax",
        ) from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        found = "an empty file" if value is None else f"a {type(value).__name__}"
        raise InputError(
            f"expected a mapping of names to values, found {found}",
            file=file,
            remedy="see the file formats in the documentation",
        )
    return value


def load_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        InputError: As `read_text`; not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(
            f"not valid JSON: {error.msg}",
            file=path,
            place=f"line {error.lineno}, column {error.colno}",
            remedy="mend the syntax",
        ) from None
    except RecursionError:
        raise InputError("JSON nested too deeply", file=path, remedy="flatten it") from None
