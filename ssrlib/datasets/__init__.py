"""One module a dataset. Each knows how its labels are written; none of them opens a photo.

`rows(path)` returns two tables. The first has one row a photo: `path` (its name in the dataset),
`file`, `offset` and `size` (where its bytes are: in a file of its own, or inside a tar), `age`,
`gender`, `source`, `subject`, `split`. The second has the `path` and `reason` of what cannot be used.
"""
