"""What is kept of an edit's steps on request: tensors, a contact sheet, and other programs' logs."""
