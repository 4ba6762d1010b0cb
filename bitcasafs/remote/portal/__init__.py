"""The portal adapter: our own server, or a historical portal, over HTTP/1.1."""
