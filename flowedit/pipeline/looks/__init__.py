"""What is looked at before, during and after an edit: its mask, a step's picture, the settings in its file."""
