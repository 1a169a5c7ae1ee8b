"""The page of methods leaves out nothing that these libraries have."""

import pytest

import methods_page


@pytest.mark.parametrize("library", ["Keras", "MONAI", "Ultralytics", "fastai"])
def test_every_class_that_mixes_is_named(library):
    methods_page.check(library)
