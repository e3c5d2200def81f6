"""Pieces of a self-contained HTML page: text is escaped, pictures and videos are inlined, nothing is loaded."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from robolearn.core.files import write_text
from robolearn.evaluation.run.video import last_frame

CSS = """
:root{color-scheme:light dark;--bg:#fbfbfa;--card:#fff;--ink:#1d2127;--soft:#626b78;--rule:#e2e4e8;--accent:#2459c4;
--second:#c2611a;--good:#16803d;--bad:#b92626}
@media (prefers-color-scheme:dark){:root{--bg:#14161a;--card:#1c1f25;--ink:#e7e9ed;--soft:#9aa3b0;--rule:#31363f;
--accent:#7ea6ff;--second:#f0a05c;--good:#4cc27a;--bad:#f07070}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1020px;margin:0 auto;padding:2.2rem 1.1rem 4rem}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 .3rem;letter-spacing:-.015em}
h2{font-size:1.28rem;margin:2.9rem 0 .5rem;padding-top:1.1rem;border-top:1px solid var(--rule)}
h3{font-size:1rem;margin:1.5rem 0 .4rem}
p{margin:.4rem 0 .9rem;max-width:46rem}
.soft,figcaption,.card small{color:var(--soft)}
nav{margin:1rem 0 0;font-size:.92rem;display:flex;flex-wrap:wrap;gap:.25rem 1.1rem}
a{color:var(--accent);text-decoration:none}a:hover{text-decoration:underline}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:.8rem;margin:1.6rem 0 0}
.card{background:var(--card);border:1px solid var(--rule);border-top:3px solid var(--rule);border-radius:8px;
padding:.75rem .9rem .8rem}
.card.good{border-top-color:var(--good)}.card.bad{border-top-color:var(--bad)}
.card b{display:block;font-size:1.7rem;line-height:1.3;font-weight:650;letter-spacing:-.02em}
.card span,.card small{display:block;font-size:.84rem;line-height:1.4}
.card span{font-weight:600}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;margin:.3rem 0 .6rem}
th,td{padding:.26rem .85rem .26rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--rule)}
td{overflow-wrap:anywhere;min-width:3rem}
th{font-weight:600;color:var(--soft);white-space:nowrap}thead th{white-space:normal;vertical-align:bottom}
td.number,th.number{text-align:right}
td.number{white-space:nowrap}.unbroken{white-space:nowrap}.words{overflow-wrap:normal}
td.good{color:var(--good);font-weight:600}td.bad{color:var(--bad);font-weight:600}
code{font:.86em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
figure{margin:1rem 0 1.3rem}figcaption{font-size:.88rem;margin-top:.3rem}
.strip{display:block;width:100%;min-width:620px;border-radius:5px}
.videos{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:.8rem;margin:1rem 0}
.videos figure{margin:0}video{display:block;width:100%;border-radius:6px;background:#000}
.map{display:flex;flex-wrap:wrap;gap:3px;margin:.6rem 0 .8rem;max-width:450px}
.map i{width:15px;height:15px;border-radius:3px;background:var(--good)}.map i.bad{background:var(--bad)}
.map i.none{background:var(--soft)}
details{margin:.6rem 0}summary{cursor:pointer;color:var(--accent)}
.absent{background:var(--card);border:1px dashed var(--rule);border-radius:8px;padding:.7rem 1rem;color:var(--soft);
overflow-wrap:anywhere}
.chart{display:block;width:100%;max-width:820px;min-width:500px;height:auto;margin:.4rem 0}
.chart text{fill:var(--ink);font-size:13px}.chart .tick{fill:var(--soft);font-size:12px}
.chart .grid{stroke:var(--rule)}.chart .axis{stroke:var(--soft)}
.chart .line-a,.chart .line-b{fill:none;stroke-width:1.6;stroke:var(--accent)}
.chart .line-b{stroke:var(--second);stroke-width:2.4}.chart .dot{fill:var(--second)}
.chart .note{paint-order:stroke;stroke:var(--bg);stroke-width:4px}.chart .bar{fill:var(--accent)}
.chart .marker{stroke:var(--second);stroke-width:1.6;stroke-dasharray:5 3}
.chart .span{stroke:var(--accent);stroke-width:5;stroke-linecap:round;opacity:.4}.chart .point{fill:var(--accent)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;margin:.8rem 0;font-size:.92rem}
.legend i{display:inline-block;width:1.4em;height:.3em;border-radius:2px;margin-right:.5em;vertical-align:middle;
background:currentColor}.legend span{color:var(--ink)}
.c0{color:#2459c4}.c1{color:#c2611a}.c2{color:#16803d}.c3{color:#a3278f}.c4{color:#8a6d00}.c5{color:#0b7f92}
.c6{color:#6b4fc9}.c7{color:#7d7d7d}
@media (prefers-color-scheme:dark){.c0{color:#7ea6ff}.c1{color:#f0a05c}.c2{color:#4cc27a}.c3{color:#e78ad6}
.c4{color:#d9bf4a}.c5{color:#4fc6d9}.c6{color:#b3a1ff}.c7{color:#a8a8a8}}
.chart [class*=" c"]{stroke:currentColor}
.chart .point[class*=" c"],.chart .dot[class*=" c"]{fill:currentColor;stroke:none}
@media print{details{display:block}}
"""


@dataclass(frozen=True)
class Card:
    """One headline number. `good` None means that nothing was asked of it."""

    label: str
    value: str
    detail: str
    good: bool | None = None


@dataclass(frozen=True)
class Section:
    """A heading with its anchor and html content."""

    anchor: str
    title: str
    html: str


def document(title: str, lead: str, cards: Sequence[Card], sections: Sequence[Section]) -> str:
    """The whole page. `lead` and the sections are html."""
    links = "".join(f'<a href="#{s.anchor}">{escape(s.title)}</a>' for s in sections)
    body = "".join(f'<section id="{s.anchor}"><h2>{escape(s.title)}</h2>{s.html}</section>' for s in sections)
    # the empty icon keeps browsers from asking for /favicon.ico
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{CSS}</style></head><body><main><header><h1>{escape(title)}</h1>{lead}<nav>{links}</nav>"
        f'<div class="cards">{"".join(map(_card, cards))}</div></header>{body}</main></body></html>\n'
    )


def write(html: str, output: Path) -> Path:
    """Write a page to `output`, replacing an older one in one step, and return its path."""
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, html)
    return output


def _card(card: Card) -> str:
    tone = "" if card.good is None else " good" if card.good else " bad"
    value, detail = escape(card.value), escape(card.detail)
    return f'<div class="card{tone}"><span>{escape(card.label)}</span><b>{value}</b><small>{detail}</small></div>'


def paragraph(text: str, soft: bool = False) -> str:
    return f"<p{' class=soft' if soft else ''}>{escape(text)}</p>"


def absent(reason: str) -> str:
    """Stands where a part would be that was not run."""
    return f'<p class="absent">Not run: {escape(reason)}</p>'


def code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def unbroken(text: str) -> str:
    """Text that stays on one line."""
    return f'<span class="unbroken">{escape(text)}</span>'


def words(text: str) -> str:
    """Text that is broken between words only."""
    return f'<span class="words">{escape(text)}</span>'


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], html_columns: Sequence[int] = ()) -> str:
    """Numbers are right-aligned, booleans become coloured words; cells of `html_columns` are inserted as they are."""
    numeric = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]

    def cell(i: int, value: object) -> str:
        if i in html_columns:
            return f"<td>{value}</td>"
        if isinstance(value, bool | np.bool_):
            return f'<td class="{"good" if value else "bad"}">{"yes" if value else "no"}</td>'
        text = f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
        return f"<td{' class=number' if numeric[i] else ''}>{escape(text)}</td>"

    head = "".join(
        f"<th{' class=number' if numeric[i] else ''}>{escape(column)}</th>" for i, column in enumerate(columns)
    )
    body = "".join(f"<tr>{''.join(cell(i, v) for i, v in enumerate(row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def records(items: Sequence[Mapping[str, object]], hidden: Iterable[str] = ()) -> str:
    """A table of whatever plain values (text, numbers, booleans) the items have, one column a key."""
    keys = list(dict.fromkeys(key for item in items for key in item if key not in hidden))
    plain = [k for k in keys if all(isinstance(r.get(k), str | int | float | bool | None) for r in items)]
    shown = [k for k in plain if any(r.get(k) is not None for r in items)]
    return table([k.replace("_", " ") for k in shown], [[r.get(k) for k in shown] for r in items])


def facts(values: Mapping[str, object]) -> str:
    """Two columns, name and value; empty values are left out."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in values.items()
        if value not in (None, "")
    )
    return f'<div class="scroll"><table><tbody>{rows}</tbody></table></div>'


def duration(seconds: float) -> str:
    """`45.2 s`, `2 min 5 s` or `7 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def details(summary: str, html: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"


def picture(image: np.ndarray, caption: str, quality: int = 82) -> str:
    """An (H, W, 3) uint8 RGB image as an inlined JPEG that scrolls sideways on narrow screens."""
    alt = escape(caption, quote=True)
    source = _data_uri("image/jpeg", _jpeg(image, quality))
    return (
        f'<figure><div class="scroll"><img class="strip" src="{source}" alt="{alt}"></div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def video(path: Path, caption: str) -> str:
    """An inlined mp4 with controls, its last frame shown until it plays."""
    source = _data_uri("video/mp4", path.read_bytes())
    poster = _data_uri("image/jpeg", _jpeg(last_frame(path), 80))
    return (
        f'<figure><video controls muted loop playsinline preload="metadata" poster="{poster}" src="{source}"></video>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _is_number(value: object) -> bool:
    if isinstance(value, bool | np.bool_):
        return False
    try:
        float(str(value or 0).replace(",", ""))
    except ValueError:
        return False
    return True
