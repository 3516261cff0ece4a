"""Planning: decides which images are built, in which subset, with which augmented copies. Tables in, tables out."""
