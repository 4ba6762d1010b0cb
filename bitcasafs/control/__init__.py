"""A mount's own socket: others on this machine ask it for its status, or to wait, or to make room for a new mount."""
