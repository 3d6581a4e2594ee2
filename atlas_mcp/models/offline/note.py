"""What is said wherever the offline model answered."""

OFFLINE_NOTE = (
    "This is ATLAS's offline model: it only selects and arranges sentences it was given. For a real one set "
    "ATLAS_MODEL=provider:name (such as anthropic:claude-sonnet-5-5) and the provider's key."
)
