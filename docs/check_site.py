"""Check the built site: ``python -m docs.check_site``.

``zensical build --strict`` refuses links to pages and anchors that do not exist. This finds what it
lets pass: missing images, navigation entries without a page, pages that nothing links to, rows of a
table that are shown as text, and anything that a browser would fetch from another host.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

SITE = Path(__file__).parents[1] / "build" / "site"
FETCHED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
FETCHING_RELATIONS = {"stylesheet", "preload", "modulepreload", "icon", "preconnect", "prefetch"}


class _Page(HTMLParser):
    """Ids of a page, its links, what it fetches, and its paragraphs that are no prose."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.fetched: set[str] = set()
        self.loose_rows: list[str] = []
        self._begins_paragraph = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        self._begins_paragraph = tag == "p"
        attributes = {name: value or "" for name, value in attrs}
        self.ids.update(attributes[name] for name in ("id", "name") if name in attributes)
        self.fetched.update(value for name, value in attributes.items() if (tag, name) in FETCHED)
        if "href" in attributes and tag in ("a", "link"):
            relations = set(attributes.get("rel", "").split())
            fetches = tag == "link" and relations & FETCHING_RELATIONS
            (self.fetched if fetches else self.links).add(attributes["href"])

    def handle_data(self, data: str) -> None:
        """Take note of a row that an empty line has cut off its table."""
        if self._begins_paragraph and data.startswith("|"):
            self.loose_rows.append(data.partition("\n")[0])
        self._begins_paragraph = False


def problems(site: Path) -> Iterator[str]:
    """What is wrong with the site, a line each."""
    pages = {
        path.relative_to(site).as_posix(): _Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
    }
    linked = {"index.html", "404.html"}
    for name, page in pages.items():
        for row in page.loose_rows:
            yield f"{name}: no table has the row {row}"
        for address in sorted(page.fetched | page.links):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                if address in page.fetched and parts.scheme != "data":
                    yield f"{name}: fetches {address} from another host"
                continue
            target = unquote(urljoin(name, parts.path)).lstrip("/") if parts.path else name
            target = f"{target}index.html" if target == "" or target.endswith("/") else target
            if target != name:
                linked.add(target)
            if not (site / target).exists():
                yield f"{name}: {address} does not exist"
            elif parts.fragment and target in pages and parts.fragment not in pages[target].ids:
                yield f"{name}: {address} has no such anchor"
    for name in pages.keys() - linked:
        yield f"{name}: no page links to it"


def main() -> int:
    """Print all problems; returns the exit code."""
    if not (SITE / "index.html").exists():
        print(f"error: there is no site in {SITE}; run: nox -s docs", file=sys.stderr)
        return 2
    found = list(problems(SITE))
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
