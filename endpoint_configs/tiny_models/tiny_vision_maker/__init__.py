"""Makes the tiny vision model: the tiny chat model with eyes, which names a picture's colour."""
