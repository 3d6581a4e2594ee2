"""Language models: which one answers for whom, the chain that stands in for it, and the offline model.

Import from the modules. Nothing here imports LangChain or a provider's package before a model is first asked for.
"""
