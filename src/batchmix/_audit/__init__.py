"""Auditing mixing code of any library: do labels match the pixels?

It judges batchmix as it judges strangers, so it uses none of the code that mixes: shares are read
off the pixels, and of `backends` it only uses what converts arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from batchmix._audit._report import Audit


def audit(
    fn: Callable[..., Any],
    *,
    array: Callable[[Any], Any] | None = None,
    call: Literal["xy", "pair", "dict", "rows"] = "xy",
    keys: Mapping[str, str] | None = None,
    labels: Literal["ids", "onehot", "boxes"] = "ids",
    box_format: Literal["xyxy", "xywh", "cxcywh", "xyxyn", "xywhn", "cxcywhn"] = "xyxy",
    weight: Literal["own", "partner"] = "own",
    classes: int = 10,
    layout: str = "NCHW",
    size: Mapping[str, int] | None = None,
    batch: int = 8,
    calls: int = 16,
    max_unmixed: float = 0.5,
    accept: Iterable[str] = (),
    replay: str | Path | None = None,
) -> Audit:
    r"""Probe any mixing code through its own interface, and say what is wrong with it.

    .. math:: w_{ij} = \text{share of row } j \text{ in image } i = \text{label of class } j

    Image i is 1 in channel i and 0 elsewhere, and its class is i: the channels of a mixed image
    show whose pixels it holds, and the label has to say the same. For each kind of batch `fn` is
    copied and global generators are seeded, so that a finding can be repeated; afterwards the
    generators are restored. An exception is no finding: code may refuse what it cannot do.

    Args:
      fn: what mixes a batch. It must take as many channels as there are rows.
      array: callable that makes fn's arrays of NumPy's, such as `torch.as_tensor`; None for NumPy.
      call: how fn is called: "xy" is ``fn(x, y)``, "pair" is ``fn((x, y))``, "dict" is
        ``fn({...})``, "rows" is a collate function, ``fn([(x[0], y[0]), ...])``. Labels may come
        back as [B], [B, classes], (partner's y, weight, ...), (y, partner's y, weight), or kornia's
        [B, 3].
      keys: for "dict": the keys under which fn has "image", "label", and what else it mixes:
        "mask" (ids [B, cells]), "onehot_mask" (float32, `classes` channels in `layout`), "boxes"
        (float32 [B, N, 5] in `box_format`, then class, padded with -1; "label" may then be left
        out), "id" (integers [B], no business of mixing).
      labels: what fn takes: "ids" [B]; "onehot" float32 [B, classes]; "boxes", a list with a dict
        a row as in torchvision: "boxes" [n, 4], "labels" [n] and what goes with them.
      box_format: left, top, right, bottom ("xyxy"); left, top, width, height ("xywh"); or centre,
        width, height ("cxcywh"), in cells; with "n" at the end in shares of the image's sides.
      weight: whose weight is returned with a partner's label.
      classes: C, more than `batch`: the spare classes show label smoothing.
      layout: one letter per axis, N first and with C: images "NCHW", volumes "NCDHW", sound "NCT",
        series "NTC", tables "NC".
      size: cells per axis; unless you say otherwise 12 x 20, 6 deep, 5 frames, 48 steps of sound.
      batch: rows, even, >= 4.
      calls: of each kind of batch, >= 2.
      max_unmixed: share of rows, 0..1, that may be returned unchanged.
      accept: names of checks whose findings are known and do not count in `Audit.found`.
      replay: a file that `Audit.save` wrote: runs only that check on that kind of batch, with the
        options that are stored there instead of those above. Nothing in it is run.

    Returns:
      An `Audit`: a `Finding` per check with verdict "ok", "found", "not applicable" (nothing to
      check) or "could not run" (fn raised); `found`, those that count; `save(folder)`;
      `assert_clean()`, for a test.

    Raises:
      MixError: arguments that do not fit, and fn does not take a plain float32 batch, or answers
        in a form that is none of the above.

    Example:
      >>> import numpy as np, batchmix as bm
      >>> def half(x, y):  # pastes the left half, and says so
      ...     order = np.roll(np.arange(len(x)), 1)
      ...     mixed = np.concatenate([x[order][..., :10], x[..., 10:]], -1)
      ...     return mixed, (np.eye(10)[y] + np.eye(10)[y[order]]) / 2
      >>> bm.audit(half)["label error, even batch"].verdict
      'ok'
      >>> bm.audit(half)["label error, small images"].verdict
      'found'

    Differs from: no other library has a check of labels against pixels.
    """
    from batchmix._audit._judge import judge  # here, so that `import batchmix` stays quick

    options = {
        "call": call, "keys": dict(keys or {"image": "image", "label": "label"}),
        "labels": labels, "box_format": box_format, "weight": weight, "classes": classes,
        "layout": layout, "size": dict(size or {}), "batch": batch, "calls": calls,
        "max_unmixed": max_unmixed,
    }  # fmt: skip
    return judge(fn, array, options, tuple(accept), replay)
