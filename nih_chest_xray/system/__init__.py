"""System: what every stage asks of the machine: locks, removal, room on disks, progress bars."""
