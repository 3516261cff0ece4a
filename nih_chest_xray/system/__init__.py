"""System: locks, removal, disk space and progress bars, for every stage."""
