"""The page around the sections: one file that asks nobody for anything."""

from html import escape

STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#222;
background:#fff;margin:0 auto;padding:16px 20px 48px;max-width:1180px}
h1{font-size:1.6em;margin:.2em 0}h2{font-size:1.2em;margin:2em 0 .6em;padding-top:.4em;
border-top:1px solid #ddd}p{max-width:75ch}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.92em;margin:.6em 0}
th,td{padding:3px 12px 3px 0;text-align:right;vertical-align:top;
border-bottom:1px solid #eee;font-variant-numeric:tabular-nums}
tbody th{font-weight:600}th{white-space:nowrap}thead th{color:#555;font-weight:500}
thead th{white-space:normal;vertical-align:bottom;max-width:9em}
th:first-child{text-align:left}td.bar{white-space:nowrap}
#regimes tr>:nth-child(2){text-align:left;min-width:14em}
#single-rows td{overflow-wrap:anywhere;text-align:left}#single-rows th{text-align:left}
#single-rows tbody th{white-space:normal;overflow-wrap:anywhere;max-width:24em}
td b{display:inline-block;height:.7em;background:#9fb8c9;margin-right:6px}
i{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.45em}
.legend span{margin-right:1.2em;white-space:nowrap}
figure{margin:1em 0}figcaption{color:#555;font-size:.92em;max-width:75ch}
.pictures{display:flex;align-items:flex-start;flex-wrap:wrap;gap:14px}
.pictures>svg{max-width:100%;height:auto;font:11px system-ui,sans-serif}
pre{background:#f6f6f6;padding:10px;overflow-x:auto;font-size:.85em}
select{font:inherit;max-width:100%}nav a{margin-right:1em;white-space:nowrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:.6em 0}
dt{color:#555}dd{margin:0;overflow-wrap:anywhere}
a{color:#0072b2}a:focus,select:focus{outline:2px solid #0072b2}
@media print{nav,#chooser{display:none}section{break-inside:avoid}}
"""

# Text is put in place as text, so that what a table holds stays what it is.
SCRIPT = """
(function(){
var at=document.getElementById("rows");if(!at)return;
var data=JSON.parse(at.textContent),box=document.getElementById("chosen"),
chooser=document.getElementById("chooser");
function add(to,tag,text){var own=document.createElement(tag);
if(text!==undefined)own.textContent=text;to.appendChild(own);return own}
function table(heads,rows){var wide=add(box,"div");wide.className="wide";
var own=add(wide,"table"),line=add(add(own,"thead"),"tr");
heads.forEach(function(text){add(line,"th",text).scope="col"});
var body=add(own,"tbody");rows.forEach(function(cells){var line=add(body,"tr");
cells.forEach(function(cell,j){if(j===0){var head=add(line,"th");head.scope="row";
if(cell.colour){add(head,"i").style.background=cell.colour}
head.appendChild(document.createTextNode(cell.text))}else{var own=add(line,"td");
if(cell.share!==undefined){add(own,"b").style.width=(80*cell.share)+"px"}
own.appendChild(document.createTextNode(cell.text))}})})}
function show(){var row=data.rows[+chooser.value];box.textContent="";
add(box,"p",row.title);if(row.said)add(box,"p",row.said);
table(["expert","gate weight","its answer"],row.experts.map(function(own){return[
{text:data.names[own[0]],colour:data.colours[own[0]]},
{text:own[1].toFixed(3),share:own[1]},{text:own[2]}]}));
table(["column","value"],data.columns.map(function(name,j){
return[{text:name},{text:row.cells[j]}]}))}
chooser.addEventListener("change",show);show()})();
"""

# Nothing is loaded, whatever the page holds.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(title, summary, sections, keys):
    """The HTML of a page.

    Parameters
    ----------
    title : str
    summary : list of (str, str), what stands at the top
    sections : list of Section
    keys : Keys

    Returns
    -------
    str
    """
    facts = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in summary
    )
    ids = [_place(own.title) for own in sections]
    links = " ".join(
        f'<a href="#{place}">{escape(own.title)}</a>'
        for place, own in zip(ids, sections, strict=True)
    )
    body = "".join(
        own.html(keys).replace("<section>", f'<section id="{place}">', 1)
        for place, own in zip(ids, sections, strict=True)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><dl>{facts}</dl><nav>{links}</nav>"
        f"<main>{body}</main><script>{SCRIPT}</script></body></html>\n"
    )


def _place(title):
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())


def framed(html, height=720):
    """A page within another one, which its styles and scripts do not touch."""
    return (
        f'<iframe srcdoc="{escape(html)}" title="report of a mixture" '
        f'style="width:100%;height:{height}px;border:1px solid #ddd"></iframe>'
    )
