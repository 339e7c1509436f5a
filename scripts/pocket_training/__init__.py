"""The stages of `train_pocket.py`."""
