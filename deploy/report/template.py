"""The report's page: HTML and style, with places for what is drawn."""

from string import Template

# The policy forbids every request: the page opens without network, and stays so.
PAGE = Template("""<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:">
<meta name=viewport content="width=device-width, initial-scale=1">
<meta name=color-scheme content=light>
<link rel=icon href="data:,">
<title>$title</title>
<style>
* { box-sizing: border-box; }
body { margin: 0; background: #f6f7f9; color: #1f2937; font: 16px/1.5 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 16px 48px; }
h1 { margin: 0; font-size: 28px; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 0 0 4px; font-size: 19px; }
h3 { margin: 0; font-size: 14px; font-weight: 500; color: #64748b; }
.source, .how, .nothing { color: #64748b; }
.source { margin: 6px 0 0; font-size: 14px; overflow-wrap: anywhere; }
.how { margin: 0 0 8px; font-size: 15px; max-width: 75ch; }
.how b { color: #b91c1c; }
.note { margin: 14px 0 0; padding: 8px 14px; border-left: 3px solid #d97706; background: #fff7ed;
  font-size: 15px; }
.cards { display: grid; gap: 14px; margin: 20px 0 0;
  grid-template-columns: repeat(auto-fit, minmax(min(300px, 100%), 1fr)); }
.card, section, details { background: #fff; border: 1px solid #e2e8f0; border-radius: 10px; }
.card { padding: 14px 18px; }
.card b { display: block; font-size: 28px; line-height: 1.35; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.card p { margin: 0; font-size: 14px; }
section { margin: 14px 0 0; padding: 18px 18px 10px; }
.figures { display: grid; gap: 8px 36px; grid-template-columns: minmax(0, 1fr); }
@media (min-width: 820px) { .pair { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
details { margin: 14px 0 0; padding: 10px 18px; }
summary { cursor: pointer; font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 4px 24px 4px 0; text-align: right; border-bottom: 1px solid #e2e8f0;
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 500; color: #64748b; }
pre { overflow-x: auto; font-size: 13px; }
</style>
<script>$plotly</script>
</head>
<body>
<main>
<header><h1>$title</h1><p class=source>$source</p>$notes</header>
<noscript><p class=note>The charts need JavaScript; the numbers below do not.</p></noscript>
<div class=cards>$cards</div>
$panels
$tables
</main>
</body>
</html>
""")
