"""The one error of the library, and the one way its messages are built."""

_MOST = 500  # characters of what was got


class MixError(ValueError):
    """Wrong input to batchmix. The message says where, what was got, the rule, and the fix.

    It is raised before any work is done, so nothing is half-written.

    Example:
      >>> import batchmix as bm
      >>> bm.policies.MixUp(alpha=-1)
      Traceback (most recent call last):
      batchmix._errors.MixError: MixUp: got alpha=-1. ...
    """


# TensorFlow's AutoGraph re-raises the errors of functions that it converted, and keeps their class
# only if its initialiser is that of Exception
MixError.__init__ = Exception.__init__  # type: ignore[method-assign]


def mix_error(where: str, got: str, rule: str, fix: str) -> MixError:
    """The four parts in their order; every message of the library is made here."""
    if len(got) > _MOST:
        got = f"{got[:_MOST]}..."
    return MixError(f"{where}: {got}\n{rule} {fix}")
