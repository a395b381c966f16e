"""Prompts: templates kept as data, filled in with a task, a world's observations and actions.

A template is a YAML file with ``name``, ``text`` (what it is for), ``messages`` (roles and
contents with the fields of `FIELDS` in braces) and optionally ``examples``: worked examples, of
which the first whose manoeuvre is not the task's is shown, so that no task sees its own solution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from verifier.errors import InputError
from verifier.vocabulary import Vocabulary
from verifier.yaml_files import load_mapping

FIELDS = ("task", "observations", "actions", "steps")
"""What a template may contain: the task's wording, the phrases of the world's propositions, the
phrases of the allowed actions, and (for alignment) the steps to be rephrased. With ``example_``
in front: the same of the worked example."""

_OF_EXAMPLE = "example_"
_DATA = Path(__file__).parent / "data" / "prompts"
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Message:
    """One turn of a conversation; ``role`` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Scene:
    """What a prompt may say of a task, as names of the vocabulary.

    Attributes:
        prompt: The task's wording.
        action: The manoeuvre; None if there is no task (alignment).
        propositions: What can be observed in the task's world.
        actions: What the driver may do there.
        steps: A numbered answer: that of an example, or the one to be aligned.
    """

    prompt: str
    action: str | None
    propositions: tuple[str, ...]
    actions: tuple[str, ...]
    steps: str = ""


@dataclass(frozen=True)
class Template:
    """A conversation with fields, which ends with the user's turn, and its worked examples."""

    name: str
    text: str
    messages: tuple[Message, ...]
    examples: tuple[Scene, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """A conversation for the model, and where it came from.

    Attributes:
        task: Id of the task.
        template: Name of the template.
        messages: The conversation, ending with the user's turn.
    """

    task: str
    template: str
    messages: tuple[Message, ...]

    @property
    def hash(self) -> str:
        """``sha256:...`` of the conversation alone: equal conversations share cached answers."""
        text = json.dumps([[m.role, m.content] for m in self.messages], separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def chat(self) -> list[dict[str, str]]:
        """The conversation in the form of chat templates and of the OpenAI API."""
        return [{"role": m.role, "content": m.content} for m in self.messages]


def shipped_templates() -> tuple[str, ...]:
    """Names of the templates that come with the package."""
    return tuple(sorted(path.stem for path in _DATA.glob("*.yaml")))


def load_template(name_or_path: str | Path) -> Template:
    """A shipped template by name, or one read from a YAML file.

    Raises:
        InputError: No such template, or malformed; the message names file and message.
    """
    shipped = _DATA / f"{name_or_path}.yaml"
    path = shipped if shipped.exists() else Path(name_or_path)
    if not path.exists():
        raise InputError(
            f"no prompt template {str(name_or_path)!r}",
            remedy=f"use one of {', '.join(shipped_templates())} or the path of a .yaml file",
        )
    data = load_mapping(path)
    for key in data:
        if key not in {"name", "text", "messages", "examples"}:
            raise InputError(
                f"unknown field {key!r}",
                file=path,
                remedy="fields: name, text, messages, examples",
            )
    rows = _list(data, "messages", path)
    if not rows:
        raise InputError("no messages", file=path, remedy="add a list 'messages'")
    messages = tuple(_message(row, path, f"message {i}") for i, row in enumerate(rows, start=1))
    if messages[-1].role != "user":
        raise InputError("the last message must be the user's", file=path, remedy="add one")
    rows = _list(data, "examples", path)
    examples = tuple(_example(row, path, f"example {i}") for i, row in enumerate(rows, start=1))
    shows = any(f.startswith(_OF_EXAMPLE) for m in messages for f in _fields(m.content))
    if shows and len({example.action for example in examples}) < 2:
        raise InputError(
            "shows an example but has none for every task",
            file=path,
            remedy="give at least two examples, of different actions",
        )
    return Template(str(data.get("name", path.stem)), str(data.get("text", "")), messages, examples)


def render(template: Template, *, task: str, scene: Scene, vocabulary: Vocabulary) -> Prompt:
    """Fill a template in.

    Args:
        template: The conversation with fields.
        task: The task's id, kept for reference.
        scene: The task.
        vocabulary: Gives the phrases of propositions and actions, and their order.

    Raises:
        InputError: A name is not in the vocabulary.
    """
    values = _values(scene, vocabulary)
    if template.examples:
        example = next(e for e in template.examples if e.action != scene.action)
        values |= {_OF_EXAMPLE + k: v for k, v in _values(example, vocabulary).items()}
    messages = tuple(Message(m.role, m.content.format(**values)) for m in template.messages)
    return Prompt(task, template.name, messages)


def _values(scene: Scene, vocabulary: Vocabulary) -> dict[str, str]:
    for names, known in (
        (scene.propositions, vocabulary.proposition_names),
        (scene.actions, vocabulary.action_names),
    ):
        for name in names:
            if name not in known:
                raise InputError(
                    f"{name!r} is not in the vocabulary {vocabulary.name!r}",
                    remedy=f"use one of {', '.join(known)}",
                )
    seen = (p.phrase for p in vocabulary.propositions if p.name in scene.propositions)
    allowed = (a.phrase for a in vocabulary.actions if a.name in scene.actions)
    return {
        "task": scene.prompt,
        "observations": ", ".join(seen),
        "actions": ", ".join(allowed),
        "steps": scene.steps.strip(),
    }


def chat_text(tokenizer: Any, prompt: Prompt) -> str:
    """The prompt as the model's chat format has it, up to where its answer starts.

    A tokenizer without a chat format gets the contents, separated by blank lines.
    """
    if getattr(tokenizer, "chat_template", None) is None:
        return "\n\n".join(m.content for m in prompt.messages) + "\n"
    return tokenizer.apply_chat_template(prompt.chat(), tokenize=False, add_generation_prompt=True)


def _list(data: dict[str, Any], key: str, path: Path) -> list[Any]:
    value = data.get(key, [])
    if not isinstance(value, list):
        raise InputError(f"{key} must be a list", file=path, remedy="start each item with '-'")
    return value


def _example(row: Any, path: Path, place: str) -> Scene:
    texts, lists = ("prompt", "action", "steps"), ("propositions", "actions")
    good = (
        isinstance(row, dict)
        and set(row) == {*texts, *lists}
        and all(isinstance(row[key], str) for key in texts)
        and all(isinstance(row[key], list) for key in lists)
    )
    if not good:
        raise InputError(
            "is not an example",
            file=path,
            place=place,
            remedy=f"texts: {', '.join(texts)}; lists of names: {', '.join(lists)}",
        )
    return Scene(
        prompt=row["prompt"],
        action=row["action"],
        propositions=tuple(map(str, row["propositions"])),
        actions=tuple(map(str, row["actions"])),
        steps=row["steps"],
    )


def _message(row: Any, path: Path, place: str) -> Message:
    if not isinstance(row, dict) or set(row) != {"role", "content"}:
        raise InputError("must have role and content", file=path, place=place)
    role, content = row["role"], row["content"]
    if role not in _ROLES or not isinstance(content, str):
        raise InputError(
            "role or content is wrong",
            file=path,
            place=place,
            remedy=f"roles: {', '.join(_ROLES)}; content is a text",
        )
    try:
        unknown = [
            field for field in _fields(content) if field.removeprefix(_OF_EXAMPLE) not in FIELDS
        ]
    except ValueError as error:
        raise InputError(
            str(error), file=path, place=place, remedy="write {{ and }} for braces"
        ) from None
    if unknown:
        raise InputError(
            f"unknown field {{{unknown[0]}}}",
            file=path,
            place=place,
            remedy=f"fields: {', '.join(FIELDS)}",
        )
    return Message(role, content.strip())


def _fields(content: str) -> Sequence[str]:
    return [field for _, field, _, _ in Formatter().parse(content) if field is not None]
