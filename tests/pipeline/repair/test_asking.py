"""The model is shown what went wrong in words, and nothing if nothing did."""

from pipeline.evaluation import Judge
from pipeline.prompts import load_template
from pipeline.repair.asking import repair_prompt
from pipeline.tasks import Task, task_prompt
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary

JUDGE = Judge(load_vocabulary(), SHIPPED["default"])
TASK = Task("t", "turn right at the traffic light", "traffic_light", "turn_right", "train")
ASKED = task_prompt(TASK, load_template("observed"), JUDGE.vocabulary)


def asked(text, counterexamples=True):
    return repair_prompt(ASKED, JUDGE.judge(TASK, text, counterexamples=counterexamples))


def test_the_conversation_goes_on_with_the_answer_and_its_counterexample():
    prompt = asked("1. Turn right.\n")
    assert prompt is not None
    assert prompt.messages[:-2] == ASKED.messages
    answer, request = prompt.messages[-2:]
    assert (answer.role, answer.content) == ("assistant", "1. Turn right.")
    assert request.role == "user"
    assert "step 1" in request.content.lower()
    assert "turn" in request.content
    assert request.content.endswith("so that this cannot happen.")
    assert prompt.template == "observed+repair"


def test_standing_still_is_a_fault_too():
    prompt = asked("1. Stop.")
    assert prompt is not None
    assert prompt.messages[-1].content != asked("1. Turn right.").messages[-1].content


def test_nothing_is_asked_when_there_is_no_fault_to_show():
    good = (
        "1. Stop.\n2. If there is no car from left and no pedestrian at right "
        "and no pedestrian in front, turn right."
    )
    assert asked(good) is None
    assert asked("1. Observe the moon.") is None
