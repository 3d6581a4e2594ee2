"""The scripted model, which answers as a file says. The door is `model.ScriptedModel`."""
