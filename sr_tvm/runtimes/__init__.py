"""Native code that runs beside TVM: what its wheel lacks on a device."""
