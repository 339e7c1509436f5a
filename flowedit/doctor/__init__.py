"""What fits on this machine, before anything is downloaded: the machine, the models, their memory by phase."""
