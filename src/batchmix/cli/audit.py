"""`batchmix audit`: is mixing code right, of this library or of any other?"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from typer import Argument, Option

from batchmix._errors import MixError, mix_error
from batchmix.cli._output import AsJson, Quiet, check_folder, print_json, shown

_MAKERS = {  # framework: module, function that makes its array of NumPy's
    "torch": ("torch", "tensor"),
    "jax": ("jax.numpy", "asarray"),
    "tensorflow": ("tensorflow", "convert_to_tensor"),
}
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
    labels: Annotated[Literal["ids", "onehot"], Option(help="Labels that it takes.")] = "ids",
    weight: Annotated[
        Literal["own", "partner"], Option(help="Whose weight is returned with two labels.")
    ] = "own",
    classes: Annotated[int, Option(help="More than --batch-size.")] = 10,
    layout: Annotated[str, Option(help="A letter per axis: NCHW, NHWC, NCT, ...")] = "NCHW",
    batch_size: Annotated[int, Option(help="Even, at least 4.")] = 8,
    calls: Annotated[int, Option(help="Of each kind of batch.")] = 16,
    max_unmixed: Annotated[
        float, Option(min=0.0, max=1.0, help="Share of rows that may stay as they were.")
    ] = 0.5,
    accept: Annotated[
        list[str] | None, Option(help="A check whose finding is known; repeatable.")
    ] = None,
    out: Annotated[Path, Option(help="Folder for the worst calls, as npz.")] = Path(
        "batchmix-audit"
    ),
    replay: Annotated[
        Path | None, Option(help="A file from --out: repeat its check on its kind of batch.")
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> int:
    """Check any mixing code: labels against pixels, dtypes, partners, inputs, seeds, NaN, ids.

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
    notes: dict[str, Any] = {"target": target, "args": args, "framework": framework}
    options: dict[str, Any] = {
        "call": call, "keys": _json("--keys", keys) if keys else None, "labels": labels,
        "weight": weight, "classes": classes, "layout": layout, "batch": batch_size,
        "calls": calls, "max_unmixed": max_unmixed,
    }  # fmt: skip
    _check(options, accept or (), out)

    import batchmix as bm
    from batchmix._audit._report import file_of
    from batchmix.cli.show.findings import document, print_findings

    # what the code prints is no part of the document
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        try:
            fn = build(target, made_with)
            array = _maker(framework)
            found = bm.audit(fn, array=array, accept=accept or (), replay=replay, **options)
        except SystemExit as stop:  # else its code would be taken for that of the audit
            raise mix_error(
                "audit", f"{target} ends the program (exit code {stop.code}).",
                "It is imported and called here.", "Audit a function that returns.",
            ) from None  # fmt: skip
    files = {} if replay else found.save(out, **notes)
    for finding in found if replay is None else ():  # what an earlier audit found is gone
        if finding.name not in files:
            file_of(out, finding.name).unlink(missing_ok=True)
    if not quiet:
        _tell_differences(replay, noted, notes)
    title = f"{target} {args if args != '{}' else ''}".rstrip()
    if as_json:
        print_json({"target": target, **document(found, files)})
    else:
        print_findings(title, found, quiet)
        for path in files.values():
            print(shown(path))
    return 1 if found.found else 0


def _check(options: dict[str, Any], accept: Sequence[str], out: Path) -> None:
    """Refuse what cannot be run before the code is imported."""
    from batchmix._audit._options import check_options

    check_options(options | {"keys": options["keys"] or {"image": "", "label": ""}}, accept)
    check_folder(out)


def build(target: str, arguments: dict[str, Any]) -> Callable[..., Any]:
    """What `target` names: an instance of a class, or a function with its keyword arguments."""
    module, colon, name = target.rpartition(":")
    if not colon:
        raise mix_error(
            "audit", f"got {target!r}.", "It is module:callable or file.py:callable.",
            "Write for example timm.data.mixup:Mixup.",
        )  # fmt: skip
    try:
        found = functools.reduce(getattr, name.split("."), _module(module))
        if isinstance(found, type):
            return _callable(target, found(**arguments))
        found = _callable(target, found)
        return functools.partial(found, **arguments) if arguments else found
    except MixError:
        raise
    except Exception as error:  # any kind, as the code is not ours
        raise mix_error(
            "audit", f"{target} could not be made ({type(error).__name__}: {error}).",
            "It is imported, and a class is called with --args.", "Check both in Python.",
        ) from None  # fmt: skip


def _module(name: str) -> Any:
    """A module by its name or its file."""
    if not name.endswith(".py"):
        if "" not in sys.path:
            sys.path.append("")  # the current folder; what lies there replaces nothing installed
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(Path(name).stem, name)
    if spec is None or spec.loader is None or not Path(name).is_file():
        raise mix_error("audit", f"there is no file {name}.", "It holds the callable.", "Look.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _callable(target: str, found: Any) -> Callable[..., Any]:
    if not callable(found):
        raise mix_error(
            "audit", f"{target} is of type {type(found).__name__}.", "It is called with a batch.",
            "Name a function, or a class whose instances can be called.",
        )  # fmt: skip
    return found  # type: ignore[no-any-return]


def _maker(framework: str) -> Callable[[Any], Any] | None:
    if framework == "numpy":
        return None
    module, function = _MAKERS[framework]
    maker: Callable[[Any], Any] = getattr(importlib.import_module(module), function)
    return maker


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
