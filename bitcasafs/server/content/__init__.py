"""Where the bytes of files are: stored once per digest, whole or not at all."""
