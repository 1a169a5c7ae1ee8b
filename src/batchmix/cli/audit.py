"""`batchmix audit`: is mixing code right, of this library or of any other?"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from typer import Argument, Option

from batchmix._errors import mix_error
from batchmix.cli._output import AsJson, Quiet, check_folder, print_json, shown, write
from batchmix.cli._target import build, maker

if TYPE_CHECKING:
    from batchmix._audit._report import Audit

_EXAMPLE = "Type for example: batchmix audit timm.data:Mixup --framework torch"

Framework = Literal["numpy", "torch", "jax", "tensorflow"]


def audit(
    target: Annotated[
        str | None,
        Argument(help="module:callable or file.py:callable; a class is made with --args first."),
    ] = None,
    args: Annotated[str, Option(help="Its keyword arguments, as JSON.")] = "{}",
    framework: Annotated[
        Framework | None, Option(help="Whose arrays it takes. [default: numpy, or the file's]")
    ] = None,
    call: Annotated[
        Literal["xy", "pair", "dict", "rows"],
        Option(help="xy: fn(x, y); pair: fn((x, y)); dict: fn({...}); rows: a collate_fn."),
    ] = "xy",
    keys: Annotated[
        str | None, Option(help='For dict, JSON such as {"image": "images", "label": "labels"}.')
    ] = None,
    labels: Annotated[
        Literal["ids", "onehot", "boxes"],
        Option(help="Labels that it takes; boxes: a list of dicts, as for detection."),
    ] = "ids",
    box_format: Annotated[
        Literal["xyxy", "xywh", "cxcywh", "xyxyn", "xywhn", "cxcywhn"],
        Option(help="Of boxes; in cells, or with n at the end in shares of the image."),
    ] = "xyxy",
    weight: Annotated[
        Literal["own", "partner"], Option(help="Whose weight is returned with two labels.")
    ] = "own",
    classes: Annotated[int, Option(help="More than --batch-size.")] = 10,
    layout: Annotated[str, Option(help="A letter per axis: NCHW, NCDHW, NCT, NC, ...")] = "NCHW",
    size: Annotated[
        str | None, Option(help='Cells per axis where others are needed, such as {"T": 16000}.')
    ] = None,
    batch_size: Annotated[int, Option(help="Even, at least 4.")] = 8,
    calls: Annotated[int, Option(help="Of each kind of batch.")] = 16,
    max_unmixed: Annotated[
        float, Option(min=0.0, max=1.0, help="Share of rows that may stay as they were.")
    ] = 0.5,
    accept: Annotated[
        list[str] | None, Option(help="A check whose finding is known; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        Option(
            help="Folder for report.html and the worst calls, as pictures and as npz.",
            show_default="batchmix-audit, or none with --replay",
        ),
    ] = None,
    replay: Annotated[
        Path | None, Option(help="A file from --out: repeat its check on its kind of batch.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Check any mixing code: labels against pixels, dtypes, partners, inputs, seeds, NaN, ids.

    Prints a verdict per check. Writes report.html, and for each finding its worst call as a picture
    and as npz. Those of an earlier audit are replaced.

    Exit code 0: nothing found. 1: something found. 2: it could not be run.
    """
    if target is None:
        raise mix_error(
            "audit", "got no target.", "It is module:callable, and no file says what is run.",
            _EXAMPLE,
        )  # fmt: skip
    made_with = _json("--args", args)
    noted = {} if replay is None else _noted(replay)
    framework = framework or noted.get("framework") or "numpy"
    out = Path("batchmix-audit") if out is None and replay is None else out
    notes: dict[str, Any] = {"target": target, "args": args, "framework": framework}
    options: dict[str, Any] = {
        "call": call, "keys": _json("--keys", keys) if keys else None, "labels": labels,
        "box_format": box_format, "weight": weight, "classes": classes, "layout": layout,
        "size": _json("--size", size) if size else None, "batch": batch_size, "calls": calls,
        "max_unmixed": max_unmixed,
    }  # fmt: skip
    _check(options, accept or (), out)

    import batchmix as bm
    from batchmix.cli.show.findings import document, print_findings

    # what the code prints is no part of the document
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            fn = build(target, made_with)
            array = maker(framework)
            found = bm.audit(fn, array=array, accept=accept or (), replay=replay, **options)
        except SystemExit as stop:  # else its code would be taken for that of the audit
            raise mix_error(
                "audit", f"{target} ends the program (exit code {stop.code}).",
                "It is imported and called here.", "Audit a function that returns.",
            ) from None  # fmt: skip
    files, drawn = ({}, []) if out is None else _write(out, found, notes)
    if not quiet:
        _tell_differences(replay, noted, notes)
    paths = [*files.values(), *drawn]
    if as_json:
        print_json(notes | document(found, files, drawn) | {"files": paths})
    else:
        print_findings(_title(notes), found, quiet)
        for path in drawn[-1:]:  # the page, which names the others
            print(shown(path))
    return 1 if found.found else 0


def _title(notes: dict[str, Any]) -> str:
    """What was audited, with its arguments."""
    return " ".join([notes["target"], *([notes["args"]] if notes["args"] != "{}" else [])])


def _write(out: Path, found: Audit, notes: dict[str, Any]) -> tuple[dict[str, Path], list[Path]]:
    """The worst calls by their checks, and what shows them.

    What an earlier audit found with the same checks is gone.
    """
    from batchmix._audit._report import file_of
    from batchmix.cli.show.audited import drawings

    words = ["batchmix", "audit", notes["target"]]
    words += ["--args", notes["args"]] if notes["args"] != "{}" else []

    def replay(path: Path) -> str:
        return shlex.join([*words, "--replay", str(path)])

    command = shlex.join([*words, *_words(found.options, notes["framework"])])
    content = drawings(out, f"Audit of {_title(notes)}", command, found, replay)
    files = found.save(out, **notes)
    for finding in found:
        path = file_of(out, finding.name)
        if finding.name not in files:
            path.unlink(missing_ok=True)
        if path.with_suffix(".png").name not in content:
            path.with_suffix(".png").unlink(missing_ok=True)
    for name, drawn in content.items():
        write(out / name, drawn)
    return files, [out / name for name in content]


def _words(options: Mapping[str, Any], framework: str) -> list[str]:
    """The command line's words for options that are not the usual ones."""
    from batchmix._audit._kinds import default_size

    usual = {
        "framework": "numpy", "call": "xy", "keys": {"image": "image", "label": "label"},
        "labels": "ids", "box_format": "xyxy", "weight": "own", "classes": 10, "layout": "NCHW",
        "size": default_size(options["layout"]), "batch": 8, "calls": 16, "max_unmixed": 0.5,
    }  # fmt: skip
    words = []
    for name, value in {"framework": framework, **options}.items():
        if value != usual[name]:
            said = json.dumps(value) if isinstance(value, dict) else str(value)
            option = {"batch": "batch-size"}.get(name, name.replace("_", "-"))
            words += [f"--{option}", said]
    return words


def _check(options: dict[str, Any], accept: Sequence[str], out: Path | None) -> None:
    """Refuse what cannot be run before the code is imported."""
    from batchmix._audit._options import check_options

    keys, size = options["keys"] or {"image": "", "label": ""}, options["size"] or {}
    check_options(options | {"keys": keys, "size": size}, accept)
    if out is not None:
        check_folder(out)


def _noted(replay: Path) -> dict[str, Any]:
    """What was audited when the file was written, to be compared with: nothing of it is run."""
    from batchmix._audit._case import read_case

    try:
        notes = read_case(replay).notes
    except OSError as error:
        raise mix_error(
            "--replay", f"{replay}: {error.strerror}.", "It is a file from --out.", "Look there."
        ) from None
    known = {name: str(notes[name]) for name in ("target", "args", "framework") if name in notes}
    if known.get("framework", "numpy") not in get_args(Framework):
        raise mix_error(
            "--replay", f"{replay} is of the framework {known['framework']!r}.",
            f"It is one of {', '.join(get_args(Framework))}.", "Pass a file from --out.",
        )  # fmt: skip
    return known


def _tell_differences(replay: Path | None, was: dict[str, Any], now: dict[str, Any]) -> None:
    """What is audited may have changed since, and that is said."""
    for name in was:
        if was[name] != now[name]:
            word = name if name == "target" else f"--{name}"
            line = f"{replay} was written with the {word} {was[name]}, and this is {now[name]}"
            print(shown(line), file=sys.stderr)


def _json(option: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise mix_error(
            option,
            f"got {text!r}.",
            "It is a JSON object.",
            """Write for example '{"alpha": 1}'.""",
        )
    return value
