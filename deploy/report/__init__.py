"""A run as one self-contained page.

- `charts`: the charts of the report
- `report`: the report of a run: one HTML page that needs no network
- `sentences`: what the report says below a panel's title where a run gives reason to
- `summary`: the first things to know of a run, in numbers and in words
- `tables`: the numbers behind the report, as folded tables
- `template`: the report's page: HTML and style, with places for what is drawn
"""
