"""Quizzes in plain Markdown, for GitHub, Lab and Colab alike: a folded explanation under every option."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Question", "Quiz", "quiz"]

QUESTIONS: dict[str, Question] = {}
QUIZZES: dict[str, Quiz] = {}


@dataclass(frozen=True)
class Question:
    """One question. options: {letter: (text, explanation)}; an explanation for each option, wrong ones above all.

    Raises ValueError when the answer is not an option or an explanation is empty.
    """

    id: str
    text: str
    options: Mapping[str, tuple[str, str]]
    answer: str

    def __post_init__(self):
        if self.answer not in self.options:
            raise ValueError(f"Question {self.id}: the answer {self.answer!r} is not among {', '.join(self.options)}.")
        for letter, (_, why) in self.options.items():
            if not why.strip():
                raise ValueError(f"Question {self.id}: option {letter} has no explanation; say why it is right or not.")
        QUESTIONS[self.id] = self

    def markdown(self) -> str:
        """The question with one folded block for each option."""
        blocks = [f"**{self.id}** {self.text}"]
        for letter, (text, why) in self.options.items():
            verdict = "Right" if letter == self.answer else "Not this one"
            folded = f"<details><summary>I choose {letter}</summary>\n\n*{verdict}:* {why}\n\n</details>\n<br>"
            blocks.append(f"**{letter})** {text}\n\n{folded}")
        return "\n\n".join(blocks)

    def reply(self, answer: str) -> str:
        """The one-line reply to an answer."""
        letter = answer.strip().lower()
        if letter not in self.options:
            return f"Question {self.id}: choose one of {', '.join(self.options)}."
        verdict = "is right" if letter == self.answer else "is not the answer"
        return f"Question {self.id}: {letter} {verdict}: {self.options[letter][1]}"


@dataclass(frozen=True)
class Quiz:
    """The questions of a chapter."""

    id: str
    questions: Sequence[Question]

    def __post_init__(self):
        QUIZZES[self.id] = self

    def markdown(self) -> str:
        intro = "Decide before you unfold. Each option is explained, the wrong ones too."
        return "\n\n".join(["## Quiz", intro, *(question.markdown() for question in self.questions)])


def quiz(id: str, answer: str = "") -> None:
    """Print the explanation for `answer` to question `id`, such as quiz("1.q1", answer="b")."""
    if id not in QUESTIONS:
        chapter = id.split(".")[0]
        try:
            importlib.import_module(f"marlcourse.course.checks.ch{chapter.zfill(2)}")
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("marlcourse.course.checks"):
                raise
    if id not in QUESTIONS:
        raise UnknownQuestion(id)
    print(QUESTIONS[id].reply(answer))


class UnknownQuestion(KeyError):
    """A question id that no chapter has; the message lists those that are loaded."""

    def __str__(self) -> str:
        known = ", ".join(sorted(QUESTIONS)) or "none"
        return f"No question {self.args[0]!r}; known here: {known}."
