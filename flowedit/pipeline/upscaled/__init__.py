"""An edit made larger on its way back into the clip, and clips made larger alone."""
