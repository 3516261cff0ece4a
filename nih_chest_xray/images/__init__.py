"""Images: decodes, resizes, augments and encodes pixels, and moves bounding boxes with them."""
