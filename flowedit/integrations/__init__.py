"""Other people's pretrained networks, for the metrics that want one; each is downloaded when it is first asked for."""
