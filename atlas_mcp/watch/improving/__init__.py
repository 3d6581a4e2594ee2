"""Proposals to work cheaper, quicker or with fewer agents: found in the record, applied, measured, taken back."""
