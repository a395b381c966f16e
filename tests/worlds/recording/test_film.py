"""Films: pictures of what happened, with the words for it."""

import io
import itertools
from dataclasses import replace

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image
from toy_junction import GREEN, LEFT, ToyJunction

from verifier.controller import Controller, Transition
from verifier.errors import InputError
from verifier.rules import load_rules
from verifier.semantics import SHIPPED
from verifier.vocabulary import load_vocabulary
from worlds.recording import lettering
from worlds.recording.encoding import FPS, Pace, encode, schedule
from worlds.recording.film import MOMENT_HOOK, Ride, severity, worst_episode
from worlds.recording.filmstrip import filmstrip, key_decisions
from worlds.recording.frames import SIZE, frame
from worlds.recording.words import chips, deed, outcome, sentence
from worlds.simulation.driver import Course
from worlds.simulation.episode import Decision

VOCABULARY = load_vocabulary()
ROAD = load_rules("road", VOCABULARY)
STEPS = ("Wait a moment.", "Turn right.")
RASH = Controller(
    0, 2, (Transition(0, "true", "stop", 1, 1), Transition(1, "true", "turn_right", 2, 2)), STEPS
)
CAREFUL = Controller(
    0, 2,
    (Transition(0, "true", "stop", 1, 1), Transition(1, f"!{LEFT}", "turn_right", 2, 2)), STEPS,
)  # fmt: skip


def ride(controller=RASH, simulator=None, **course) -> Ride:
    semantics = SHIPPED["default"]
    return Ride(
        simulator or ToyJunction(), controller, "turn_right", Course(semantics, **course), ROAD,
        VOCABULARY, "Turn right",
    )  # fmt: skip


@pytest.fixture(scope="module")
def crash():
    worst, _ = worst_episode(ride(), range(20))
    return ride().film(worst.seed)


def test_filming_changes_nothing():
    for seed in range(5):
        episode, violations = ride().drive(seed)
        film = ride().film(seed)
        assert film.episode == episode
        assert film.violations == violations


def test_a_shot_of_every_decision_shows_what_it_was_made_about():
    film = ride(CAREFUL).film(4)
    simulator = ToyJunction()
    simulator.reset(4)
    ahead = len(film.episode.decisions) - film.episode.closing
    assert film.episode.closing
    for index, decision in enumerate(film.episode.decisions[:ahead]):
        look = film.look(index)
        assert look.seconds == decision.seconds
        assert np.array_equal(look.picture, simulator.render())
        assert decision.label == simulator.observe()
        simulator.apply(decision.action or "stop")
        simulator.step()
        while not (simulator.ready or simulator.done):
            simulator.step()
    assert film.shots[-1].decision == ahead - 1
    assert np.array_equal(film.shots[-1].picture, simulator.render())


def test_no_moment_is_shown_twice_and_time_goes_on():
    seconds = [shot.seconds for shot in ride(CAREFUL).film(4).shots]
    assert all(a < b for a, b in itertools.pairwise(seconds))


def test_the_end_is_shown(crash):
    assert crash.episode.outcome == "collision"
    assert crash.shots[-1].seconds == crash.episode.status.seconds


class Smooth(ToyJunction):
    """A simulator that offers pictures within a period."""

    on_moment = None

    def status(self):
        status = super().status()
        return status.__class__(**vars(status) | {"seconds": status.seconds + self._part})

    def reset(self, seed):
        self._part = 0.0
        super().reset(seed)

    def step(self):
        for part in (0.25, 0.5, 0.75):
            self._part = part
            if self.on_moment is not None:
                self.on_moment()
        self._part = 0.0
        super().step()


def test_simulators_may_offer_moments_within_a_period():
    simulator = Smooth()
    film = ride(CAREFUL, simulator).film(4)
    plain = ride(CAREFUL).film(4)
    assert film.episode.hash == plain.episode.hash
    assert len(film.shots) > 3 * (len(plain.shots) - film.episode.closing - 1)
    assert getattr(simulator, MOMENT_HOOK) is None  # the camera is gone


def test_detectors_and_watchers_work_while_filming():
    seen = []
    blind = ride(CAREFUL, perceive=lambda _: frozenset(), watch=lambda *args: seen.append(args))
    film = blind.film(2)
    assert all(not decision.seen for decision in film.episode.decisions)
    assert len(seen) >= len(film.episode.decisions) - film.episode.closing
    assert film.episode == blind.drive(2)[0]


def test_zoom_shows_the_middle():
    whole, close = ride().film(3), replace(ride(), zoom=2.0).film(3)
    assert close.episode == whole.episode
    assert close.shots[0].picture.shape == (120, 160, 3)
    assert np.array_equal(close.shots[0].picture, whole.shots[0].picture[60:180, 80:240])


def test_worst_is_a_collision_then_most_rules_then_earliest():
    episodes = [ride().drive(seed) for seed in range(20)]
    worst, violations = worst_episode(ride(), range(20))
    assert worst.outcome == "collision"
    assert severity(worst, violations) == min(severity(*pair) for pair in episodes)
    assert worst.seed == min(
        e.seed for e, v in episodes if severity(e, v) == severity(worst, violations)
    )
    safe, none = worst_episode(ride(CAREFUL), range(20))
    assert (safe.outcome, none) == ("finished", ())


def test_frames_show_the_scene_and_the_violation(crash):
    broken = next(i for i, s in enumerate(crash.shots) if crash.broken_at(s.decision))
    shown, first = frame(crash, broken, VOCABULARY), frame(crash, 0, VOCABULARY)
    assert shown.size == first.size == SIZE
    red = Image.new("RGB", (1, 1), lettering.RED).getpixel((0, 0))

    def reds(image):
        return int((np.asarray(image)[:628] == red).all(axis=2).sum())

    assert reds(shown) > 4 * reds(first)
    ended = frame(crash, len(crash.shots) - 1, VOCABULARY, ended=True)
    assert not np.array_equal(
        np.asarray(ended), np.asarray(frame(crash, len(crash.shots) - 1, VOCABULARY))
    )


def test_words():
    decision = Decision(1.0, frozenset({GREEN}), frozenset({LEFT}), "turn_right", 1, 2)
    shown = chips(decision, (GREEN, LEFT, "stop_sign"), VOCABULARY)
    assert [(c.text, c.holds, c.mistaken) for c in shown] == [
        ("green traffic light (missed)", True, True),
        ("car from left (imagined)", False, True),
        ("stop sign", False, False),
    ]
    assert deed(decision, VOCABULARY) == "→ turn right"
    assert sentence(decision, STEPS) == "Turn right."
    assert sentence(decision, ()) == "Step 2"
    waiting = Decision(1.0, frozenset(), frozenset(), None, 1, None)
    assert deed(waiting, VOCABULARY) == "nothing"
    assert sentence(waiting, STEPS) == "Waits: no step acts now."


def test_outcomes(crash):
    assert outcome(crash.episode, VOCABULARY)[0].startswith("Collision with a car after")
    fine = ride(CAREFUL).film(4).episode
    assert outcome(fine, VOCABULARY) == (f"It turns right after {fine.status.seconds:.0f} s", True)


def test_the_schedule_keeps_time():
    film = ride(CAREFUL).film(4)
    seconds = film.shots[-1].seconds
    for speed in (1.0, 4.0):
        shown = schedule(film, Pace(speed))
        assert abs(len(shown) - seconds * FPS / speed) <= 2
        assert shown == sorted(shown)
        assert (shown[0], shown[-1]) == (0, len(film.shots) - 1)


def test_gif(crash):
    content = encode(crash, ".gif", VOCABULARY, Pace(4.0, 1.0))
    with Image.open(io.BytesIO(content)) as gif:
        assert gif.format == "GIF"
        assert gif.size == (960, 540)
        assert gif.n_frames >= 3  # pyright: ignore[reportAttributeAccessIssue]
        assert gif.info["loop"] == 0
        gif.seek(1)  # when the car from the left is there
        pixels = np.asarray(gif.convert("RGB"), int)
    # Small things keep their colours: our car is blue, and the other one yellow.
    for colour in ((90, 160, 240), (230, 200, 60)):
        assert (np.abs(pixels - colour).max(axis=2) <= 16).sum() > 100


def test_mp4(crash, tmp_path):
    (tmp_path / "film.mp4").write_bytes(encode(crash, ".mp4", VOCABULARY, Pace(4.0, 1.0)))
    reader = imageio.get_reader(tmp_path / "film.mp4")
    facts = reader.get_meta_data()
    assert (facts["size"], facts["fps"]) == (SIZE, FPS)
    expected = (len(schedule(crash, Pace(4.0))) + FPS) / FPS
    assert facts["duration"] == pytest.approx(expected, abs=0.3)


def test_other_endings(crash):
    with pytest.raises(InputError, match=r"no film is written as \.avi"):
        encode(crash, ".avi", VOCABULARY)


def test_a_filmstrip_shows_the_decisions_that_matter(crash):
    with Image.open(io.BytesIO(filmstrip(crash, VOCABULARY))) as strip:
        assert strip.format == "PNG"
        assert strip.width >= 900
    long = ride(CAREFUL).film(4)
    chosen = key_decisions(long, 5)
    moving = next(i for i, d in enumerate(long.episode.decisions) if d.action == "turn_right")
    assert {0, moving} <= set(chosen)
    assert len(chosen) <= 5
    breaking = next(v.decision for v in crash.violations)
    assert breaking in key_decisions(crash, 1)


def test_text_is_wrapped_and_cut():
    text = "If there is no car from the left, check the pedestrian at the right."
    lines = lettering.wrap(text, 200, 18)
    assert " ".join(lines) == text
    assert all(lettering.width_of(line, 18) <= 200 for line in lines)
    cut = lettering.wrap(text, 200, 18, most=2)
    assert len(cut) == 2
    assert cut[-1].endswith("…")
    assert lettering.width_of(cut[-1], 18) <= 200
