"""How a network is run, whatever its family: attention and what is read of it, guided calls, chunks, and speed."""
