"""Bytes from the portal to a reader: ranges fetched ahead of a sequential reader, small ones for a random one."""
