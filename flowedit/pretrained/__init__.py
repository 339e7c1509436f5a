"""Other people's pretrained networks; each is downloaded when it is first asked for."""
