"""The style sheet of the HTML report: light, dark, phone and paper.

Blue and orange (organic, own) and green and vermilion (met, not met) are told
apart with each usual colour blindness; the verdicts have a sign too. Text has
a contrast of at least 4.5 to 1 to its ground, what is drawn 3 to 1
(WCAG 2.2, 1.4.3 and 1.4.11); a test computes that.
"""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff",
    "ground": "#f3f5f8",
    "ink": "#18212b",
    "soft": "#54606d",
    "rule": "#dfe4ea",
    "hatch": "#8f9aa6",
    "organic": "#0a66b2",
    "own": "#d07c00",
    "total": "#6b5b95",
    "ok": "#00734f",
    "bad": "#b43a00",
    "open": "#5a6572",
    "ok-tint": "#e2f3ec",
    "bad-tint": "#fbe7dd",
    "open-tint": "#eceff2",
    "pause": "#8a5aa8",
    "maint": "#107e86",
}
DARK = {
    "paper": "#171c22",
    "ground": "#0e1216",
    "ink": "#e8edf2",
    "soft": "#a3afbb",
    "rule": "#2c343d",
    "hatch": "#6b7785",
    "organic": "#4aa3e8",
    "own": "#f0b13e",
    "total": "#b3a2e0",
    "ok": "#4fcf9f",
    "bad": "#ff9166",
    "open": "#a7b2bd",
    "ok-tint": "#12352a",
    "bad-tint": "#43220f",
    "open-tint": "#262e36",
    "pause": "#c79be6",
    "maint": "#4cc6cd",
}


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())


_RULES = """
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",
sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere;-webkit-text-size-adjust:100%}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 3rem}
h1{font-size:1.6rem;line-height:1.25;margin:0}
h2{font-size:1.3rem;line-height:1.3;margin:0 0 .3rem}
h3{font-size:1rem;margin:1.8rem 0 .3rem}
p{margin:.3rem 0}
a{color:inherit;text-decoration:none}
a:hover{text-decoration:underline}
.note,.keys,dt,summary{color:var(--soft)}
.note,.keys,.list,dl{font-size:.875rem}
section,.card{background:var(--paper);border:1px solid var(--rule);border-radius:10px}
section{padding:1.2rem 1.3rem;margin-top:1.2rem}
.verdict{font-size:1.05rem;font-weight:600;margin:.6rem 0 0}
.badge{display:inline-block;border-radius:1rem;padding:.05rem .7rem;font-weight:600;
font-size:.9rem}
.ok{background:var(--ok-tint);color:var(--ok);fill:var(--ok)}
.bad{background:var(--bad-tint);color:var(--bad);fill:var(--bad)}
.open{background:var(--open-tint);color:var(--open);fill:var(--open)}
.cards{display:grid;grid-template-columns:repeat(3,1fr);gap:1rem;margin-top:1.2rem}
.card{padding:1rem 1.1rem}
.card h2{font-size:1rem;color:var(--soft);display:flex;justify-content:space-between;gap:.5rem}
.big{font-size:2.1rem;font-weight:650;line-height:1.15;margin:.1rem 0}
.stack .target{stroke-dasharray:none;stroke-width:2}
.stack{display:block;width:100%;margin:.7rem 0 .3rem}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:.5rem 1.5rem;
margin:1rem 0 0}
dt,dd{margin:0}
dd{font-size:1rem}
figure{margin:.3rem 0 0}
.plot{display:grid;grid-template-columns:3.1rem minmax(0,1fr);gap:.5rem}
.plot svg{display:block;overflow:visible}
.axis{width:100%}
.axis text{text-anchor:end}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1.5rem}
text{font-size:11px;fill:var(--soft)}
.s{text-anchor:start}.m{text-anchor:middle}.e{text-anchor:end}
.mark{fill:var(--ink);font-weight:600;paint-order:stroke;stroke:var(--paper);stroke-width:4px;
stroke-linejoin:round}
.grid line{stroke:var(--rule);stroke-width:1;shape-rendering:crispEdges}
.target{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:6 4}
.organic{fill:var(--organic)}.own{fill:var(--own)}.total{fill:var(--total)}
.line{fill:none;stroke:var(--organic);stroke-width:2;vector-effect:non-scaling-stroke}
.area .total{fill-opacity:.55}
.gap{fill:url(#hatch)}.part{fill:url(#hatch);opacity:.45}
#hatch path{stroke:var(--hatch);stroke-width:1.2}
.hit rect{fill:var(--ink);fill-opacity:0}
.hit rect:hover{fill-opacity:.14}
.stop{fill:var(--soft)}.pause{fill:var(--pause)}.maint{fill:var(--maint)}.press{fill:var(--bad)}
.event{fill:var(--soft)}.fault{fill:var(--bad);stroke:var(--ink)}
.heat rect,.strip rect{stroke:var(--paper);stroke-width:1}
.strip .weak{fill-opacity:.3;stroke:currentColor;stroke-dasharray:2 2}
.q-total{fill:var(--total)}.q-organic{fill:var(--organic)}
.keys{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;align-items:center;margin-bottom:.5rem}
.below{margin:.3rem 0 0 3.6rem}
.key{display:inline-flex;gap:.4rem;align-items:center}
.swatch{flex:none}
.cal{width:100%;table-layout:fixed;border-collapse:separate;border-spacing:3px;
font-size:.875rem}
.cal th{color:var(--soft);font-weight:500;font-size:.75rem}
.cal td{border-radius:5px;padding:.15rem .4rem;height:2.9rem;vertical-align:top;line-height:1.25}
.cal td span{display:block;font-size:.7rem}
.cal b,.cal i{font-weight:600;font-style:normal}
.cal i{float:right}
.weak{outline:1px dashed;outline-offset:-1px}
.badge.weak{background:none}
.cal b{display:block;clear:both;white-space:nowrap}
.long{grid-template-columns:minmax(0,1fr);gap:.6rem}
.long div{display:grid;grid-template-columns:10rem minmax(0,1fr);gap:1rem}
.long dd{font-size:.9rem}
.said{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
details{margin-top:1rem}
summary{cursor:pointer}
.wide{overflow-x:auto}
.list{border-collapse:collapse;width:100%}
.list th,.list td{text-align:left;padding:.3rem .8rem .3rem 0;border-bottom:1px solid var(--rule);
vertical-align:top}
.list td:nth-child(-n+3){white-space:nowrap}
.num th,.num td{white-space:nowrap}
.num td,.num th+th{text-align:right}
.list th{white-space:nowrap;color:var(--soft);font-weight:500}
.grave td:nth-child(2){color:var(--bad);font-weight:600}
.defs{position:absolute}
@media screen and (max-width:46rem){
main{padding:1rem .6rem 2rem}
section{padding:1rem .8rem}
h1{font-size:1.35rem}h2{font-size:1.12rem}
.cards,.pair{grid-template-columns:minmax(0,1fr)}
.odd{display:none}
.plot{grid-template-columns:2.5rem minmax(0,1fr);gap:.4rem}
.below{margin-left:0}
dl{grid-template-columns:1fr 1fr}
.long,.long div{grid-template-columns:minmax(0,1fr);gap:.1rem}
.long{gap:.7rem}
.cal{border-spacing:2px}
.cal td{padding:.1rem .2rem;font-size:.75rem}
.events thead{display:none}
.events tr{display:block;padding:.4rem 0;border-bottom:1px solid var(--rule)}
.events td{display:block;border:0;padding:0}
.events td:empty{display:none}
}
@media print{
:root{color-scheme:light}
body{background:var(--paper);font-size:12px}
main{max-width:none;padding:0}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
section{border:0;padding:.5rem 0}
figure,.card,dl,tr,h2,h3{break-inside:avoid}
h2,h3{break-after:avoid}
details:not([open]){display:none}
}
"""

STYLE = (
    f":root{{color-scheme:light dark;{_variables(LIGHT)}}}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}{_RULES}"
)
"""The whole sheet."""
