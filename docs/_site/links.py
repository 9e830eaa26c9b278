"""Links from the pages to files of the repository: they must exist, and they work from site/.

MkDocs knows files below docs/ only. A link such as ../pitboss/store/store.py is checked here and
left as it is: site/ lies beside docs/, so the same relative path leads to the same file.
"""

import logging
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = re.compile(r"\]\(((?:\.\./)+[^)#\s]*)(#[^)\s]*)?\)")
SCHEME = "repository:"

log = logging.getLogger("mkdocs.plugins.links")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Check links out of docs/ and hide them from MkDocs, which would not find them."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def checked(link: re.Match[str]) -> str:
        target = (folder / link[1]).resolve()
        if not target.is_relative_to(ROOT) or not target.exists():
            log.warning("%s links to %s, which does not exist.", page.file.src_uri, link[1])
        return f"]({SCHEME}{link[1]}{link[2] or ''})"

    return OUTSIDE.sub(checked, markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Bring the links back."""
    return output.replace(f'href="{SCHEME}', 'href="')
