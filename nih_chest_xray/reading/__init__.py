"""Reading: records of a built dataset to examples, by index."""
