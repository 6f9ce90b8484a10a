"""A run as one self-contained HTML page, and as a few lines in the terminal.

    metrics.json ── summary, tables, charts ── template ── report.html
                └── terminal

- `charts`: the figures, drawn with Plotly
- `report`: the page, put together and written
- `summary`: cards and sentences: the numbers in words
- `tables`: the numbers behind the page, as folded tables
- `template`: HTML and style, with places for the parts
- `terminal`: the same summary as rows of text
"""
