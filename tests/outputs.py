"""Writes into pages what their blocks print: python tests/outputs.py docs/stats.md ..."""

import contextlib
import re
import sys
import tempfile
from pathlib import Path

import pages

SHOWN = re.compile(
    r'^( *)```text title="(Output|Output, numbers vary)"\n(?:.*?\n)??\1```$',
    re.MULTILINE | re.DOTALL,
)


def written(page):
    """The page with each output as it is now."""
    namespace, outputs = {"__name__": page.name}, []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in pages.all_blocks(page):
            printed = pages.printed_by(block, page, namespace)
            if block.output is not None:
                outputs.append(printed)
            elif printed:
                sys.exit(f"{page}: a block shows no output and prints:\n{printed}")
    told = iter(outputs)

    def put(found):
        lines = [f'```text title="{found[2]}"', *next(told).splitlines(), "```"]
        return "\n".join((found[1] + line).rstrip() for line in lines)

    return SHOWN.sub(put, page.read_text())


if __name__ == "__main__":
    for word in sys.argv[1:]:
        page = Path(word).absolute()
        page.write_text(written(page))
