"""The mount's view of whatever holds the drive, behind one interface."""
