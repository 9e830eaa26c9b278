"""One self-contained HTML file that holds a study's whole result: `render.page(store)`.

`data` reads the store, `numbers` remembers where each number of the page comes from, every file of
`sections` makes one section, `render` puts them into the templates. Texts are in `strings_en.json`
and `strings_ko.json`. The same files give the same bytes.
"""
