"""What the routes do: each function takes a `Call` and gives an `Answer`, or raises a kind of `bitcasafs.errors`."""
