"""Into the compiler: torch to ONNX, ONNX to Relax, parity checked at each step."""
