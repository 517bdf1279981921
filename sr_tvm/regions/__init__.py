"""What a fused region computes: its operators and values, its cuts, its delays. Free of TVM and of targets."""
