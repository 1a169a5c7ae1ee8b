"""A saved model on the Hugging Face Hub, with a card that says what it is."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from batchmix._errors import mix_error
from batchmix.cli._output import shown, write
from batchmix.cli.lab.outcome import METRICS
from batchmix.cli.lab.saved.config import CONFIG, WEIGHTS, Saved

_CARD = "README.md"
_REPO = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_PIPELINES = {
    ("classes", "image"): "image-classification", ("labels", "image"): "image-classification",
    ("classes", "mel"): "audio-classification", ("classes", "wave"): "audio-classification",
}  # fmt: skip


def check_hub(repo: str) -> None:
    """The name is one of a repository, and there is a token; before anything is predicted."""
    if not _REPO.fullmatch(repo):
        raise mix_error(
            "--push-to-hub", f"got {repo[:200]!r}.", "It is the name of a repository.",
            "Write user/name.",
        )  # fmt: skip
    if importlib.util.find_spec("huggingface_hub") is None:
        raise mix_error(
            f"--push-to-hub {repo}", "huggingface_hub is not installed.", "It uploads the model.",
            "pip install 'batchmix[cli]'",
        )  # fmt: skip
    from huggingface_hub import get_token

    if not get_token():
        raise mix_error(
            f"--push-to-hub {repo}", "there is no token.", "The Hub asks who uploads.",
            "Run `hf auth login`, or set HF_TOKEN.",
        )  # fmt: skip


def push(folder: Path, repo: str, saved: Saved, metrics: Mapping[str, Any]) -> str:
    """Upload weights, config and card; the address. A card that is in the folder is kept."""
    from huggingface_hub import HfApi

    if not (folder / _CARD).exists():
        write(folder / _CARD, card(repo, saved, metrics).encode())
    try:
        api = HfApi(library_name="batchmix")
        api.create_repo(repo, exist_ok=True)
        api.upload_folder(
            repo_id=repo, folder_path=folder, allow_patterns=[WEIGHTS, CONFIG, _CARD],
            commit_message="Upload model",
        )  # fmt: skip
    except Exception as error:  # the Hub's client raises a dozen kinds
        said = shown(" ".join(str(error).split())[:300]).rstrip(".")
        raise mix_error(
            f"--push-to-hub {repo}", f"the Hub gave: {said or type(error).__name__}.",
            f"The model stays in {folder}, whole.", "Check network and token, and run it again.",
        ) from None  # fmt: skip
    return f"https://huggingface.co/{repo}"


def card(repo: str, saved: Saved, metrics: Mapping[str, Any]) -> str:
    """README.md: what the model tells, how good it is, how it was trained, how to use it."""
    training, task = saved.training, saved.task
    of_timm = training.model.startswith("timm:")
    lines = ["---", f"library_name: {'timm' if of_timm else 'batchmix'}"]
    if (task.kind, saved.form) in _PIPELINES:
        lines.append(f"pipeline_tag: {_PIPELINES[task.kind, saved.form]}")
    lines += ["tags:", "- batchmix", "---", "", f"# {repo.partition('/')[2]}", ""]
    named = ", ".join(_plain(name) for name in task.names[:50])
    more = f" and {task.outputs - 50} more" if task.outputs > 50 else ""
    what = {"classes": "One of", "labels": "Any of", "numbers": "Numbers:"}[task.kind]
    lines += [
        f"`{training.model}`, trained with [batchmix](https://pypi.org/project/batchmix/). "
        f"Rows are of the form {saved.form}, {' x '.join(map(str, saved.shape))}.",
        "", f"{what} {task.outputs}: {named}{more}.", "",
    ]  # fmt: skip
    if metrics:
        lines += ["| metric | value |", "|---|---|"]
        lines += [
            f"| {METRICS[name].heading} | {METRICS[name].words(v)} |" for name, v in metrics.items()
        ]
        lines += [""]
    if saved.temperature:
        lines += [
            f"Logits divided by the temperature {saved.temperature:.4f} give calibrated "
            "probabilities.", "",
        ]  # fmt: skip
    lines += ["## Use", "", "```bash", "batchmix predict MODEL_FOLDER FILES", "```", ""]
    if of_timm:
        lines += [
            "```python", "import timm", "",
            f'model = timm.create_model("hf-hub:{repo}", pretrained=True)', "```", "",
        ]  # fmt: skip
    lines += ["## Training", "", "| setting | value |", "|---|---|"]
    lines += [f"| {key} | {_plain(str(value))} |" for key, value in asdict(training).items()]
    lines += ["", ", ".join(f"{key} {value}" for key, value in saved.versions.items()), ""]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A name that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", shown(text))
