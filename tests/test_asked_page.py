"""The page of questions: each says where it was asked, and answers in few lines or by a link."""

import re

import pytest

from pages import DOCS

TEXT = (DOCS / "asked.md").read_text()
GROUPS = re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL)
QUESTIONS = [
    (title, body)
    for _, group in GROUPS
    for title, body in re.findall(r"^### (.+?)\n(.*?)(?=^### |\Z)", group, re.M | re.S)
]


@pytest.mark.parametrize(("title", "body"), QUESTIONS, ids=[title for title, _ in QUESTIONS])
def test_a_question_says_where_it_was_asked_and_is_answered(title, body):
    (asked,) = re.findall(r"^Asked: (.+)$", body, re.MULTILINE)
    links = re.findall(r"\[([^\]]+) #(\d+)\]\((\S+?)\)", asked)
    assert links
    pattern = r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/"
    assert all(re.fullmatch(pattern + number, link) for _, number, link in links)
    code = "".join(re.findall(r"^```python\n(.*?)^```$", body, re.MULTILINE | re.DOTALL))
    assert len(code.splitlines()) <= 5
    answer = body.partition("Asked:")[0]
    assert code or re.search(r"\]\([\w/-]+\.md", answer)


def test_the_counts_are_those_of_the_page():
    listed = re.findall(r"^- \[(.+?)\]\(#[\w-]+\): (\d+)$", TEXT, re.MULTILINE)
    assert listed == [(title, str(group.count("\n### "))) for title, group in GROUPS]
    assert TEXT.partition("\n")[2].lstrip().startswith(f"{len(QUESTIONS)} questions")
