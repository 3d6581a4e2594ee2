"""The offline model, which answers until a real one is configured. The door is `model.OfflineModel`."""
