"""Changes on their way to the portal: staged content, the durable outbox, what is sent next and how.

The vfs appends a `Change` for every mutation; nothing here knows the kernel, and the vfs is told what became of a
change through the small Protocol `scheduler.Witness`.
"""
