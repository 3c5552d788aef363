"""What the README shows works as pasted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_python_block_runs_in_order(ip: Any) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    for block in blocks:
        seen = ip.run(block)
        assert seen.error is None, f"{block}\n{seen.text}"
    assert len(ip.ns["run"].history) == 15
    assert Path("fused/model.pt").is_file()
    assert ip.run("%fusion run --fusion my_median --rounds 1").error is None


def test_every_command_and_option_that_it_names_exists(ip: Any) -> None:
    from fusion_nb.notebook import options

    named = set(re.findall(r"`(--[a-z][a-z-]*)", TEXT))
    assert len(named) > 8
    assert named <= set(options.names())
    assert all(command in options.COMMANDS for command in re.findall(r"`%fusion ([a-z]+)", TEXT))


def test_its_links_and_pictures_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_its_architecture_lists_every_file() -> None:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    drawing = next(block for language, block in fenced if not language and "types" in block)
    rooms = {
        path.name.removesuffix(".py")
        for path in (ROOT / "fusion_nb").iterdir()
        if path.name[0] not in "._"
    }
    assert all(re.search(rf"\b{room}\b", drawing) for room in rooms - {"assets"})
