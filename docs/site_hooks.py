"""What mkdocs can't do by itself: pages that lie elsewhere in the project, and links to its files.

On GitHub the same Markdown is read where it lies, so links are written for that. Here a link that
leaves ``docs`` leads to the page that a file has become, or to a copy of the file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
#: Pages of the site that lie elsewhere in the project.
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "export/web_assets/README.md": "examples/web_assets.md",
    "examples/README.md": "examples.md",
    "examples/cpp/README.md": "examples/cpp.md",
    "examples/custom_domain/README.md": "examples/custom_domain.md",
    "examples/web/README.md": "examples/web.md",
    "trm_sdk/domains/maze/README.md": "domains/maze.md",
    "trm_sdk/domains/arc/README.md": "domains/arc.md",
    "training/runs/maze.md": "runs/maze.md",
    "training/runs/sudoku.md": "runs/sudoku.md",
    "training/runs/sudoku-16x16.md": "runs/sudoku-16x16.md",
    "training/runs/sudoku-hard.md": "runs/sudoku-hard.md",
    "training/runs/sudoku-narrow.md": "runs/sudoku-narrow.md",
    "training/runs/sudoku-quick.md": "runs/sudoku-quick.md",
    "training/runs/sudoku-wide.md": "runs/sudoku-wide.md",
}
PAGES |= {
    f"trm_sdk/pretrained/{card.parent.name}/README.md": f"models/{card.parent.name}.md"
    for card in sorted((ROOT / "trm_sdk" / "pretrained").glob("*/README.md"))
}
_ORIGINS = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"(\]\()([^)\s#]+)(#[^)\s]*)?(\))")
_FENCED = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)


def origin(page: str) -> PurePosixPath:
    """Return where a page of the site lies in the project."""
    return PurePosixPath(_ORIGINS.get(page, f"docs/{page}"))


def destination(source: PurePosixPath, link: str) -> str | None:
    """Return the file of the site that a link in a file of the project leads to; None: no such."""
    if "://" in link or link.startswith(("mailto:", "/")):
        return None
    target = os.path.normpath(source.parent / link)
    for candidate in (target, f"{target}/README.md"):
        if candidate in PAGES:
            return PAGES[candidate]
    if target.startswith("docs/"):
        return target.removeprefix("docs/")
    if not target.startswith("..") and (ROOT / target).is_file():
        return f"files/{target}"
    return None


def rewritten(markdown: str, page: str) -> str:
    """Return a page with its links as the site needs them; code is left as it is."""
    here = PurePosixPath(page).parent

    def changed(match: re.Match[str]) -> str:
        goal = destination(origin(page), match[2])
        if goal is None:
            return match[0]
        return f"{match[1]}{os.path.relpath(goal, here)}{match[3] or ''}{match[4]}"

    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(changed, part) for part in parts[::2]]
    return "".join(parts)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from elsewhere, and what any page links to."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    copied = set()
    for page in [file.src_uri for file in files.documentation_pages()]:
        text = (ROOT / origin(page)).read_text(encoding="utf-8")
        for match in _LINK.finditer(text):
            goal = destination(origin(page), match[2])
            if goal is not None and goal.startswith("files/"):
                copied.add(goal)
    for goal in sorted(copied):
        path = ROOT / goal.removeprefix("files/")
        files.append(File.generated(config, goal, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrite a page's links."""
    return rewritten(markdown, page.file.src_uri)
