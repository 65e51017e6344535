"""Reading videos and photos: facts, frames, sampling. Imports no torch."""
