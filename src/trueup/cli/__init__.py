"""What people type and read: one file per verb."""
