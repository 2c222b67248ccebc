"""Every chapter asks three times or more, in one form, and answers its own question in one sentence."""

from __future__ import annotations

import re

import prose
import pytest
from book_pages import NOTEBOOKS

UNSAID = {"17_protocol", "18_answer", "27_decision"}
"""Chapters that end with their answers as a list, or are a tool."""

EXERCISE = re.compile(r"^(?P<fence>`{3,})\{exercise\}(?P<rest>.*?)^(?P=fence)[ ]*$", re.M | re.S)
FORM = re.compile(r" (?P<title>\S.*)\n:label: (?P<label>ex-[\w-]+)\n\n\S")
SOLUTION = re.compile(r"^`{3,}\{solution-start\} (ex-[\w-]+)\n:class: dropdown\n`{3,}[ ]*$", re.M)
CHECK = re.compile(r"^\*\*Check\.\*\* .*\{glue:text\}`", re.M)

each_chapter = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def exercises(text: str) -> list[str]:
    """What stands behind the word `{exercise}` in every exercise of a markdown text."""
    return [match["rest"] for match in EXERCISE.finditer(text)]


def solved(path) -> dict[str, int]:
    """Exercises with a folded solution, each with the executed cells that it holds."""
    found, label = {}, None
    for cell in prose.notebook(path).cells:
        if cell.cell_type == "code" and label:
            found[label] += bool(cell.execution_count)
        for match in re.finditer(r"\{solution-(?:start\} (?P<label>ex-[\w-]+)|end\})", cell.source):
            label = match["label"]
            if label:
                found[label] = 0
    return found


@each_chapter
def test_three_exercises_or_more(path):
    assert len(exercises(prose.markdown(path))) >= 3


@each_chapter
def test_exercises_have_one_form(path):
    """A title, a label that is the book's only one of that name, an empty line, the question."""
    assert [rest for rest in exercises(prose.markdown(path)) if not FORM.match(rest)] == []


def test_labels_are_unique():
    labels = [FORM.match(rest) for path in NOTEBOOKS for rest in exercises(prose.markdown(path))]
    names = [match["label"] for match in labels if match]
    assert len(names) == len(set(names)) > 40


@each_chapter
def test_every_exercise_has_a_folded_solution(path):
    text = prose.markdown(path)
    asked = {re.search(r":label: (ex-[\w-]+)", rest)[1] for rest in exercises(text)}
    assert asked == set(SOLUTION.findall(text)) == set(solved(path))


@each_chapter
def test_solutions_are_executed(path):
    """All but those that are a proof on paper."""
    assert sum(count > 0 for count in solved(path).values()) >= 2


@each_chapter
def test_one_exercise_has_a_computed_check_value(path):
    assert any(CHECK.search(rest) for rest in exercises(prose.markdown(path)))


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem not in UNSAID], ids=lambda path: path.stem)
def test_chapters_end_with_their_answer_in_one_sentence(path):
    found = prose.markdown(path).split("## What we found")[-1]
    (said,) = re.findall(r"\*\*In (?:one|a) sentence[.:]?\*\*:? (.+?)(?:\n\n|\Z)", found, re.S)
    assert "{glue:text}`" in said


def test_a_missing_solution_and_a_missing_title_are_seen():
    untitled = "```{exercise}\n:label: ex-a\nWhy?\n```"
    titled = "```{exercise} Why\n:label: ex-a\n\nWhy?\n```"
    assert [bool(FORM.match(rest)) for rest in exercises(f"{untitled}\n\n{titled}")] == [False, True]
    assert not SOLUTION.findall(titled)
