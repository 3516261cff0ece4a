"""Planning: which images are built, in which subset, with which copies. From table to table."""
