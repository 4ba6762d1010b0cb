"""The wire, sans-IO and two-sided: the mount and the server import the same modules, so they cannot drift."""
