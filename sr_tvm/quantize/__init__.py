"""Integer networks: their record, their one definition in NumPy, calibration, and how they are written as ONNX."""
