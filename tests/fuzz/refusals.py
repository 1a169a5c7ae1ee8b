"""What every refusal has to be: short, one line of what was got, nothing that moves a cursor."""

import contextlib
import pathlib
import tempfile

from batchmix import MixError

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="batchmix-fuzz-"))
_LONGEST = 4000


@contextlib.contextmanager
def refused(name=""):
    """Lets a MixError pass that names `name`; everything else is a find."""
    try:
        yield
    except MixError as error:
        got, _, rule = str(error).partition("\n")
        assert rule, got
        assert name in got, got
        assert len(got) < _LONGEST, len(got)
