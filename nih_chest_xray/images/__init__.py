"""Images: pixels: decoding, resizing, augmenting and encoding, and where bounding boxes go."""
