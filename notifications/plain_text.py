"""HTML mail -> the text that readers without HTML see."""

import re
from html.parser import HTMLParser

UNSEEN = frozenset({"head", "script", "style", "template"})
BLOCKS = frozenset({"address", "article", "blockquote", "div", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header",
                    "hr", "main", "ol", "p", "pre", "section", "table", "ul"})  # fmt: skip
LINES = frozenset({"br", "dd", "dt", "li", "tr"})


def text_from_html(html: str) -> str:
    """The words of ``html``: paragraphs apart, list items dashed, the address of a link behind its words."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unseen = 0
        self._links: list[tuple[str, int]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag in UNSEEN:
            self._unseen += 1
        elif tag in BLOCKS:
            self.parts.append("\n\n")
        elif tag in LINES:
            self.parts.append("\n- " if tag == "li" else "\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")
        elif tag == "img":
            self.parts.append(found.get("alt") or "")
        elif tag == "a":
            self._links.append((found.get("href") or "", len(self.parts)))

    def handle_endtag(self, tag: str) -> None:
        if tag in UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in BLOCKS:
            self.parts.append("\n\n")
        elif tag == "a" and self._links:
            address, start = self._links.pop()
            words = "".join(self.parts[start:]).strip()
            if address.startswith(("http://", "https://", "mailto:")) and words not in (
                address,
                address.removeprefix("mailto:"),
            ):
                self.parts.append(f" ({address})")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(re.sub(r"\s+", " ", data))  # line breaks of the source mean nothing
