"""Links within the built site that lead nowhere, and what pages load from elsewhere."""

from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

# What a browser fetches by itself, as against links that a reader follows.
LOADED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")}


class Page(HTMLParser):
    """Names that links may lead to, links, and what is loaded."""

    def __init__(self, text):
        super().__init__()
        self.names, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Keep what a tag names, links to, or loads."""
        own = dict(attrs)
        self.names.add(own.get("id"))
        if tag == "a":
            self.names.add(own.get("name"))
            self.links.append(own.get("href"))
        for name in ("src", "href"):
            if (tag, name) in LOADED:
                self.loaded.append(own.get(name))


def broken(folder):
    """Faults of all pages in a folder, as sentences."""
    paths = [
        own for own in sorted(folder.rglob("*.html")) if "_static" not in own.parts
    ]
    pages = {path: Page(path.read_text()) for path in paths}
    found = []
    for path, page in pages.items():
        own = path.relative_to(folder)
        for target in filter(None, page.loaded):
            if urlsplit(target).netloc:
                found.append(f"{own} loads {target}")
        for target in filter(None, [*page.links, *page.loaded]):
            fault = fault_of(path, target, pages)
            found.extend([f"{own} links to {target}: {fault}"] if fault else [])
    return found


def fault_of(path, target, pages):
    """What is wrong with a link of a page, or an empty string."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return ""
    file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not file.exists():
        return "no such file"
    # Words that browsers look for are no names of places.
    if parts.fragment and not parts.fragment.startswith(":~:") and file in pages:
        names = pages[file].names
        if not {parts.fragment, unquote(parts.fragment)} & names:
            return "no such place on the page"
    return ""
