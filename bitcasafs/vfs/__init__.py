"""The file system: inodes, listings, the overlay of pending changes, handles, names and attributes.

It knows nothing of the kernel (that is `fuse`) and changes nothing by itself: each mutation is a `Change` given to the
outbox, each answer comes from the overlay.
"""
