"""Options, conf/ and edits in YAML files: how settings are made."""
