"""Building: makes examples from images, on one machine or with Beam, and the metadata that TFDS stores with them."""
