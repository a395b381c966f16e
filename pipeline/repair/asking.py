"""Repair by the model: it sees what its controller did wrong and answers again."""

from __future__ import annotations

from pipeline.evaluation import Judged
from pipeline.prompts import Message, Prompt
from verifier.verdicts import Verdict

_ASK = (
    "A run of your steps goes wrong. {fault} The rule is: {rule} "
    "Write all steps again, changed so that this cannot happen."
)


def repair_prompt(prompt: Prompt, judged: Judged) -> Prompt | None:
    """The conversation with the answer, its explained counterexample and the request to mend it.

    Args:
        prompt: What was asked.
        judged: The answer, judged with counterexamples.

    Returns:
        None if nothing is violated or the answer could not be read.
    """
    verdict = _fault(judged)
    if verdict is None or not verdict.explanation:
        return None
    rules = {s.id: s for s in judged.rules.specifications}
    rule = rules[verdict.id].text or f"{verdict.formula}."
    ask = _ASK.format(fault=verdict.explanation, rule=rule)
    answer = Message("assistant", judged.text.strip())
    messages = (*prompt.messages, answer, Message("user", ask))
    return Prompt(prompt.task, f"{prompt.template}+repair", messages)


def _fault(judged: Judged) -> Verdict | None:
    """The first violated safety rule, else the progress rule."""
    return next((v for v in judged.road.verdicts if v.counterexample is not None), None)
