"""How far the outputs of two artifacts are apart, on pictures; an ONNX file of anyone's to score."""
