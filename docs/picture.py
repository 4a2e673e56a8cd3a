"""README's picture, light and dark: three machines, the two boundaries between them, and what each machine cannot do when it is hostile."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 960, 348
FONT = "system-ui, -apple-system, 'Segoe UI', 'Noto Sans', 'Liberation Sans', Arial, sans-serif"


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours, as CSS writes them. The background is the page's own."""

    text: str
    muted: str
    box: str
    edge: str
    boundary: str
    good: str
    bad: str


@dataclass(frozen=True, kw_only=True)
class Box:
    """One box. Lines have to fit into it: about 32 characters. ``lost``: what an attacker gets; ``kept``: what stays safe."""

    title: str
    what: str
    has: tuple[str, ...]
    hostile: str
    lost: tuple[str, ...] = ()
    kept: tuple[str, ...]


LIGHT = Theme(
    text="#1f2328", muted="#59636e", box="#f6f8fa", edge="#d1d9e0", boundary="#bc4c00", good="#1a7f37", bad="#cf222e"
)  # fmt: skip
DARK = Theme(
    text="#f0f6fc", muted="#9198a1", box="#151b23", edge="#3d444d", boundary="#f0883e", good="#3fb950", bad="#f85149"
)  # fmt: skip
BOXES = (
    Box(
        title="Source",
        what="web1, db1, …: restic and a timer",
        has=("its own SSH key", "its repository's password"),
        hostile="An attacker with root here",
        lost=("can add and read its backups",),
        kept=("cannot delete or change any", "cannot learn where they are"),
    ),
    Box(
        title="Relay",
        what="sshd and append-only rclone",
        has=("one storage identity per source", "no password, no key to sources"),
        hostile="An attacker with root here",
        lost=("can hide and add ciphertext",),
        kept=("cannot read a backup", "cannot delete a locked one"),
    ),
    Box(
        title="Storage",
        what="S3 bucket: versions, Object Lock",
        has=("every version of every object", "a lock that nobody can shorten"),
        hostile="After any attack",
        kept=("every locked version is there", "hidden data can be restored"),
    ),
)
WIDE, GAP, TOP, TALL = 272, 72, 56, 250
ARROW = TOP + 84


def picture(theme: Theme) -> str:
    """The SVG's text."""
    body = [_box(box, _left(number), theme) for number, box in enumerate(BOXES)]
    body += [_boundary(_left(number) - GAP // 2, number, theme) for number in (1, 2)]
    body += [_arrow(_left(1) - GAP, "SSH", theme), _arrow(_left(2) - GAP, "HTTPS", theme)]
    title = "Source, relay and storage, with a trust boundary between each two"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' role="img" aria-label="{title}" font-family="{FONT}" font-size="14">\n'
        + "\n".join(body)
        + "\n</svg>\n"
    )


def _left(number: int) -> int:
    return number * (WIDE + GAP)


def _text(x: int, y: int, words: str, colour: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" fill="{colour}"{more}>{escape(words)}</text>'


def _box(box: Box, left: int, theme: Theme) -> str:
    x = left + 18
    lines = [
        f'<rect x="{left + 0.5}" y="{TOP + 0.5}" width="{WIDE - 1}" height="{TALL - 1}" rx="8" fill="{theme.box}" stroke="{theme.edge}"/>',
        _text(x, TOP + 34, box.title, theme.text, ' font-size="20" font-weight="600"'),
        _text(x, TOP + 58, box.what, theme.muted, ' font-size="13"'),
    ]
    y = TOP + 92
    for line in box.has:
        lines.append(_text(x, y, f"•  {line}", theme.text))
        y += 22
    lines.append(f'<path d="M{x} {y - 6}H{left + WIDE - 18}" stroke="{theme.edge}"/>')
    lines.append(_text(x, y + 18, box.hostile, theme.muted, ' font-size="13"'))
    y += 42
    marked = [("!", theme.bad, line) for line in box.lost] + [("✓", theme.good, line) for line in box.kept]
    for mark, colour, line in marked:
        lines += [_text(x, y, mark, colour, ' font-weight="700"'), _text(x + 20, y, line, theme.text)]
        y += 22
    return "\n".join(lines)


def _boundary(x: int, number: int, theme: Theme) -> str:
    middle = ' text-anchor="middle" font-size="12" font-weight="600"'
    return (
        _text(x, 20, f"boundary {number}", theme.boundary, middle)
        # Open behind the arrow's name.
        + f'\n<path d="M{x} 32V{ARROW - 30}M{x} {ARROW + 8}V{TOP + TALL + 20}" stroke="{theme.boundary}" stroke-width="2" stroke-dasharray="6 5"/>'
    )


def _arrow(left: int, label: str, theme: Theme) -> str:
    """Across a boundary, above its dashes."""
    y, start, end = ARROW, left + 6, left + GAP - 6
    middle = (
        f' text-anchor="middle" font-size="12" paint-order="stroke" stroke="{theme.box}" stroke-width="4"'
    )
    return (
        f'<path d="M{start} {y}H{end - 8}" stroke="{theme.text}" stroke-width="2"/>'
        f'\n<path d="M{end} {y}l-10 -6v12z" fill="{theme.text}"/>'
        f"\n{_text(left + GAP // 2, y - 12, label, theme.text, middle)}"
    )


FILES = {"docs/chain-light.svg": LIGHT, "docs/chain-dark.svg": DARK}
