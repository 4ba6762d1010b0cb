"""The commands: argv becomes a frozen value and one call; errors become a line and an exit code."""
