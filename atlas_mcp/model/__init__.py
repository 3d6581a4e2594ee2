"""What things are: frozen models and enums, no I/O. Import from the modules: one noun a file."""
