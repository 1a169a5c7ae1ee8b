"""What is reported of libraries that are hosts happens, with the versions that are named."""

import pytest

import upstream

HERE = [report for report in upstream.REPORTS if upstream.runs_here(report)]
HOSTS = {"Keras", "MONAI", "fastai", "Ultralytics"}  # the others: tests/test_upstream.py


@pytest.mark.parametrize(
    "report", [one for one in HERE if upstream.parts(one)[0] in HOSTS], ids=lambda one: one.stem
)
def test_a_report_prints_what_it_says(report, tmp_path):
    assert upstream.printed(report, tmp_path).endswith(upstream.parts(report)[3])
