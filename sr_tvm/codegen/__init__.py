"""What every lowering writes its TIR with."""
