"""Building: from images to examples, on one machine or with Beam, and what TFDS stores of them."""
