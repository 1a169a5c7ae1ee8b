"""What is reported of other libraries happens, with the versions that are named."""

import re

import pytest

import upstream
from pages import DOCS

INDEX = DOCS / "upstream" / "index.md"
HERE = [report for report in upstream.REPORTS if upstream.runs_here(report)]


@pytest.mark.parametrize("report", HERE, ids=lambda report: report.stem)
def test_a_report_prints_what_it_says(report, tmp_path):
    assert upstream.printed(report, tmp_path).endswith(upstream.parts(report)[3])


@pytest.mark.parametrize("report", upstream.REPORTS, ids=lambda report: report.stem)
def test_a_report_is_short_and_needs_nothing_of_ours(report):
    code = upstream.parts(report)[2]
    assert "batchmix" not in code
    assert len([line for line in code.splitlines() if line.strip()]) <= 22
    headings = re.findall(r"^## (.+)$", report.read_text(), re.MULTILINE)
    assert headings == ["What happens", "Expected", "A possible fix"]


def test_the_index_names_every_report_with_its_title():
    rows = re.findall(r"\[([^\]]+)\]\(([\w-]+\.md)\)", INDEX.read_text())
    titles = {
        report.name: report.read_text().partition("\n")[0].removeprefix("# ")
        for report in upstream.REPORTS
    }
    assert {name: title for title, name in rows} == titles
    assert INDEX.read_text().count("| not sent |") == len(titles)
