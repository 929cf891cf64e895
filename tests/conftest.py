"""What holds for every test: onnxruntime's telemetry stays off where a test imports it itself."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
