"""What is remembered by many: shared documents, what runs came to and taught, and what makes all of it be found."""

import os

# Both are read when the libraries are loaded, which is later. The first keeps onnxruntime from writing usage data into
# the user's cache folder. The second: many small products on threads that others need, too, are fifty times slower.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
