"""How good an edit is: pure functions, one name a metric; nothing here knows of models, modes or files of a job."""
