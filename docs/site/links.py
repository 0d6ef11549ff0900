"""links.py FOLDER: checks the HTML pages in a folder. Every relative link leads to a file and an anchor, and pages and
styles load nothing from another address.
"""
import html.parser
import pathlib
import re
import sys
import urllib.parse

# Elements whose address is loaded with the page, unlike that of a link.
LOADED = {"audio", "embed", "iframe", "img", "object", "script", "source", "video"}
LOADED_RELATIONS = {"icon", "manifest", "modulepreload", "preload", "shortcut", "stylesheet"}
IN_STYLE = re.compile(r"""(?:@import\s+(?:url\()?|url\()\s*['"]?([^'")\s;]+)""")


class Page(html.parser.HTMLParser):
    """The anchors of a page, and the addresses in it."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loaded = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors.update(value for key, value in attributes if key == "id" or (tag == "a" and key == "name"))
        address = values.get("href") or values.get("src") or values.get("data")
        if not address or tag == "base":
            return
        is_loaded = tag in LOADED or (tag == "link" and LOADED_RELATIONS & set(values.get("rel", "").split()))
        (self.loaded if is_loaded else self.links).append(address)


def is_elsewhere(address):
    parts = urllib.parse.urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def check(folder):
    """Returns the number of relative addresses, and a line for each problem."""
    folder = pathlib.Path(folder).resolve()
    pages = {path: Page(path.read_text()) for path in sorted(folder.rglob("*.html"))}
    count, problems = 0, []
    for path, page in pages.items():
        name = path.relative_to(folder)
        problems += [f"{name}: loads {address}" for address in page.loaded if is_elsewhere(address)]
        for address in page.links + page.loaded:
            parts = urllib.parse.urlsplit(address)
            if is_elsewhere(address) or parts.scheme == "data":
                continue
            count += 1
            target = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            if folder not in target.parents or not target.is_file():
                problems.append(f"{name}: {address}: no such file")
            elif parts.fragment and target in pages:
                if urllib.parse.unquote(parts.fragment) not in pages[target].anchors:
                    problems.append(f"{name}: {address}: no such anchor")
    for path in sorted(folder.rglob("*.css")):
        for address in IN_STYLE.findall(path.read_text()):
            if is_elsewhere(address):
                problems.append(f"{path.relative_to(folder)}: loads {address}")
    return count, problems


if __name__ == "__main__":
    _, problems = check(sys.argv[1])
    sys.exit("\n".join(problems) if problems else 0)
