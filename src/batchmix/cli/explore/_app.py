"""The page: its controls and outputs. What they show is made in `_render`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported

import gradio as gr
from fastapi import FastAPI

from batchmix._errors import MixError
from batchmix.cli._forms import FORMS
from batchmix.cli._output import shown
from batchmix.cli.explore._render import render
from batchmix.cli.explore._view import CHOICES, RANGES, View
from batchmix.cli.show.shown import Source

_NAMES = [field.name for field in fields(View)]
_TITLE = (
    "<h1>batchmix explore</h1><p>What a policy does to a "
    '<span class="row">row</span> and its <span class="partner">partner</span>, '
    "and to their labels.</p>"
)
_ADDRESS = "(link) => { if (link) history.replaceState(null, '', link); }"
_LABELS = {
    "data": "Data",
    "policy": "Policy",
    "a": "",  # named by the policy
    "b": "",
    "prob": "Probability",
    "per": "One draw per",
    "pairing": "Partners",
    "seed": "Seed",
    "step": "Step",
    "first": "First row",
    "rows": "Rows",
}
# no font from another host; labels without colours
_THEME = gr.themes.Soft(
    primary_hue="blue",
    neutral_hue="slate",
    font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
    font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "monospace"],
).set(
    block_label_background_fill="none",
    block_label_background_fill_dark="none",
    block_label_text_color="*body_text_color",
    block_label_text_color_dark="*body_text_color",
    block_title_background_fill="none",
    block_title_background_fill_dark="none",
    block_title_padding="0",
    block_title_text_color="*body_text_color",
    block_title_text_color_dark="*body_text_color",
    block_title_text_weight="500",
)
_CSS = Path(__file__).with_name("style.css").read_text()
_QUEUE = 64  # moves that wait
_PAGES = 100  # that Gradio remembers, 90 kB each; they keep nothing, and any goes on forgotten


def make_page(sources: Mapping[str, Source]) -> gr.Blocks:
    """The page for these data. It keeps no state: the view is in the address."""

    def answer(view: View, request: gr.Request) -> list[Any]:
        """What the outputs show; a MixError where there is nothing to show."""
        made = render(view, sources)
        link = f"{request.base_url}?{view.query()}".rstrip("?")
        texts = [made.code, made.command, link]
        return [made.cards, made.spread, *(gr.update(value=v, visible=True) for v in texts)]

    def moved(request: gr.Request, *chosen: Any) -> list[Any]:
        """Answer after a control was moved."""
        try:
            view = View(**dict(zip(_NAMES, chosen)))
            return [*_numbers(view), *answer(view, request)]
        except MixError as error:
            return [gr.skip(), gr.skip(), *_refused(error)]

    def opened(request: gr.Request) -> list[Any]:
        """Answer when the page is opened, with the view in its address."""
        try:
            view = View.read(dict(request.query_params))
            shown = answer(view, request)
        except MixError as error:
            return [*vars(View()).values(), *_refused(error)]
        values = {name: gr.update(value=value) for name, value in vars(view).items()}
        for name, update in zip("ab", _numbers(view)):
            values[name] |= update
        return [*values.values(), *shown]

    with gr.Blocks(title="batchmix explore", fill_width=True) as page:
        with gr.Sidebar(width=330):
            gr.HTML(_TITLE, elem_id="title")
            controls = _controls(list(sources))
        outputs = _outputs()
        link = outputs[-1]
        ordered = [controls[name] for name in _NAMES]
        numbers = [controls[name] for name in "ab"]
        gr.on(
            [control.input for control in ordered], moved, ordered, [*numbers, *outputs],
            show_progress="hidden", trigger_mode="always_last", concurrency_limit=4,
            api_visibility="private",
        )  # fmt: skip
        page.load(opened, None, [*ordered, *outputs], show_progress="hidden",
                  api_visibility="private")  # fmt: skip
        link.change(None, link, None, js=_ADDRESS)
    return page


def _outputs() -> list[Any]:
    """Where the parts of an answer are shown, in its order."""
    spread, cards = gr.HTML(elem_id="spread"), gr.HTML(elem_id="cards")
    shown: dict[str, Any] = {"buttons": ["copy"], "interactive": False}
    label = "Python code of this view"
    code = gr.Code(language="python", label=label, elem_id="code", **shown)
    label = "The same view as figures"
    command = gr.Code(language="shell", label=label, elem_id="command", lines=1, **shown)
    link = gr.Textbox(label="Link to this view", elem_id="link", **shown)
    return [cards, spread, code, command, link]


def _controls(data: list[str]) -> dict[str, Any]:
    """One control for each value of a view, in the order in which they are read."""
    usual, choices = vars(View()), {**CHOICES, "data": data}
    made: dict[str, Any] = {}
    for name, label in _LABELS.items():
        shown = {"label": label, "elem_id": name, "value": usual[name], "interactive": True}
        if name in RANGES:
            low, high, step = RANGES[name]
            made[name] = gr.Slider(low, high, step=step, **shown)
        elif name in ("data", "pairing"):
            made[name] = gr.Dropdown(list(choices[name]), **shown)
        else:
            made[name] = gr.Radio(list(choices[name]), **shown)
    return made


def _numbers(view: View) -> list[Any]:
    """The sliders of the policy's numbers with their names; one that it does not have is hidden."""
    names = FORMS[view.policy].numbers
    shown = [gr.update(visible=True, label=name, maximum=most) for name, (_, most) in names.items()]
    return [*shown, gr.update(visible=False), gr.update(visible=False)][:2]


def _refused(error: MixError) -> list[Any]:
    """Show the message in place of the cards, and nothing to copy; the address is kept."""
    message = f'<div class="wrong" role="alert">{escape(shown(" ".join(str(error).split())))}</div>'
    return [message, "", *[gr.update(value="", visible=False)] * 3]


def app(page: gr.Blocks) -> Any:
    """The page as an ASGI application, with nothing that Gradio would add by itself.

    Each argument that is left out, Gradio takes from the environment.
    """
    page.queue(max_size=_QUEUE, api_open=False)
    page.state_session_capacity = _PAGES
    outer = FastAPI(openapi_url=None)
    return gr.mount_gradio_app(
        outer,
        page,
        "/",
        theme=_THEME,
        css=_CSS,
        allowed_paths=[],
        footer_links=[],
        max_file_size=0,
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        show_error=False,
        root_path="",
    )
