"""One adapter a model family; nothing above this room imports diffusers or transformers."""
